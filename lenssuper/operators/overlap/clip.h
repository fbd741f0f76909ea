/* The overlap of one mapped element with the cells of a window of the grid; see clip.c. */

#ifndef LENSSUPER_CLIP_H
#define LENSSUPER_CLIP_H

#include "../../_utils/kernels.h"

/* Elements narrower than this (in cells) are treated as segments. */
#define THIN 1e-9
/* Edges that bend less than this are straight but for rounding. */
#define STRAIGHT 1e-12
/* Elements that bend more than this part of their extent are too far from straight for a first-order
 * correction. */
#define FOLDED 0.25

/* A part of the grid. Its cells are cells[row * stride + column]; they hold differences along the row, in
 * (height + 1) rows of stride >= width + 2. */
typedef struct {
    double *cells;
    ptrdiff_t stride, width, height;
} Window;

typedef struct {
    double x, y;
} Point;

#define SWAP(type, a, b) do { type kept = a; a = b; b = kept; } while (0)

/* Add the coverage right of a piece of edge from xa to xb that climbs dy within one row of cells. */
static inline void strip(double *row, double xa, double xb, double dy)
{
    double left = lower(xa, xb), right = higher(xb, xa);
    ptrdiff_t ca = (ptrdiff_t)left, cb = (ptrdiff_t)right;
    if (ca == cb) {
        double part = dy * (0.5 * (left + right) - ca);
        row[ca] += dy - part;
        row[ca + 1] += part;
        return;
    }
    double slope = dy / (right - left), reach = ca + 1 - left;
    double before = 0.5 * slope * reach * reach;
    row[ca] += before;
    for (ptrdiff_t c = ca + 1; c < cb; c++) {
        double cover = slope * (c + 0.5 - left);
        row[c] += cover - before;
        before = cover;
    }
    reach = right - cb;
    double cover = dy - 0.5 * slope * reach * reach;
    row[cb] += cover - before;
    row[cb + 1] += dy - cover;
}

/* Walk one edge that lies inside the window, adding `scale` times the coverage to its right. */
static void walk_edge(const Window *window, double x0, double y0, double x1, double y1, double scale)
{
    if (y0 > y1) {
        SWAP(double, x0, x1);
        SWAP(double, y0, y1);
        scale = -scale;
    }
    ptrdiff_t first = (ptrdiff_t)y0, last = (ptrdiff_t)y1;
    double *row = window->cells + first * window->stride;
    if (first == last) {
        strip(row, x0, x1, scale * (y1 - y0));
        return;
    }
    double slope = (x1 - x0) / (y1 - y0), low = lower(x0, x1), high = higher(x0, x1), x = x0, y = y0;
    for (ptrdiff_t r = first; r < last; r++) {
        double x_next = within(x0 + slope * (r + 1 - y0), low, high);
        strip(row, x, x_next, scale * (r + 1 - y));
        x = x_next;
        y = r + 1.0;
        row += window->stride;
    }
    strip(row, x, x1, scale * (y1 - y));
}

/* Walk one edge that may leave the window; to the left of the window it covers whole rows. */
static void walk_edge_clipped(const Window *window, double x0, double y0, double x1, double y1, double scale)
{
    double width = (double)window->width, height = (double)window->height;
    if (y0 > y1) {
        SWAP(double, x0, x1);
        SWAP(double, y0, y1);
        scale = -scale;
    }
    if (y1 <= 0.0 || y0 >= height || y0 == y1)
        return;
    double slope = (x1 - x0) / (y1 - y0), xa = x0, ya = y0, xb = x1, yb = y1;
    if (y0 < 0.0) {
        ya = 0.0;
        xa = x0 - slope * y0;
    }
    if (y1 > height) {
        yb = height;
        xb = x0 + slope * (height - y0);
    }
    if (xa > xb) { /* from left to right: turn the piece over */
        SWAP(double, xa, xb);
        SWAP(double, ya, yb);
        scale = -scale;
    }
    if (xa < 0.0) {
        double y = xb <= 0.0 ? yb : ya + (yb - ya) * (-xa / (xb - xa));
        y = within(y, 0.0, height);
        walk_edge(window, 0.0, ya, 0.0, y, scale);
        if (xb <= 0.0)
            return;
        xa = 0.0;
        ya = y;
    }
    if (xa >= width)
        return;
    if (xb > width) {
        yb = ya + (yb - ya) * ((width - xa) / (xb - xa));
        yb = within(yb, 0.0, height);
        xb = width;
    }
    walk_edge(window, xa, ya, xb, yb, scale);
}

/* Add to one cell of a window that holds differences along the row. */
static inline void put(double *cell, double value)
{
    cell[0] += value;
    cell[1] -= value;
}

/* Return the integral from 0 to s of the triangular density with its peak at `peak`. */
static inline double ramp(double s, double peak)
{
    if (s < peak)
        return s * s / peak;
    if (peak < 1.0)
        return 1.0 - (1.0 - s) * (1.0 - s) / (1.0 - peak);
    return 1.0;
}

static inline double squared_distance(Point a, Point b)
{
    return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);
}

/* Cut the part from *start to *stop of a segment down to what lies between 0 and size along one axis, where
 * it begins at o and is d long; 0 if it lies outside as a whole because d is 0. */
static inline int cut_axis(double o, double d, double size, double *start, double *stop)
{
    if (d == 0.0)
        return !(o < 0.0 || o >= size);
    double a = -o / d, b = (size - o) / d;
    *start = higher(*start, lower(a, b));
    *stop = lower(*stop, higher(a, b));
    return 1;
}

/* Add a triangle that has shrunk to a segment, or to a point.
 *
 * The image-plane area of a triangle whose corners fall at 0 <= b <= 1 along a line is spread there with a
 * density that rises linearly up to b and falls beyond it. */
static void add_segment(const Window *window, Point p0, Point p1, Point p2, double weight)
{
    double width = (double)window->width, height = (double)window->height;
    double a = squared_distance(p0, p1), b = squared_distance(p1, p2);
    double longest = squared_distance(p2, p0); /* turn the corners so that this is the longest side */
    if (a >= b && a > longest) {
        SWAP(Point, p1, p2);
        longest = a;
    } else if (b > longest) {
        SWAP(Point, p0, p1);
        longest = b;
    }
    double dx = p2.x - p0.x, dy = p2.y - p0.y;
    if (longest == 0.0) {
        if (0.0 <= p0.x && p0.x < width && 0.0 <= p0.y && p0.y < height)
            put(window->cells + (ptrdiff_t)p0.y * window->stride + (ptrdiff_t)p0.x, weight);
        return;
    }
    double peak = within(((p1.x - p0.x) * dx + (p1.y - p0.y) * dy) / longest, 0.0, 1.0);
    double s = 0.0, stop = 1.0; /* the part of the segment inside the window */
    if (!cut_axis(p0.x, dx, width, &s, &stop) || !cut_axis(p0.y, dy, height, &s, &stop))
        return;
    ptrdiff_t c = (ptrdiff_t)within(floor(p0.x + s * dx), 0.0, width - 1.0);
    ptrdiff_t r = (ptrdiff_t)within(floor(p0.y + s * dy), 0.0, height - 1.0);
    while (s < stop && 0 <= c && c < window->width && 0 <= r && r < window->height) {
        double to_column = dx != 0.0 ? (c + (dx > 0.0) - p0.x) / dx : HUGE_VAL;
        double to_row = dy != 0.0 ? (r + (dy > 0.0) - p0.y) / dy : HUGE_VAL;
        double t = within(lower(to_column, to_row), s, stop);
        put(window->cells + r * window->stride + c, weight * (ramp(t, peak) - ramp(s, peak)));
        if (to_column <= to_row)
            c += dx > 0.0 ? 1 : -1;
        else
            r += dy > 0.0 ? 1 : -1;
        s = t;
    }
}

/* How far an element is off the straight one in the middle of each edge, along one axis. */
typedef struct {
    double b01, b12, b02;
} Bends;

/* The chord of a cell border inside an element: where it begins and how long it is, and the polynomial of the
 * displacement along it, b + c1 t + c2 t^2 for 0 <= t <= 1. */
typedef struct {
    double begin, length, end, b, c1, c2;
} Chord;

/* Return the chord at p = line of the element with corners (p, q), p0 <= p1 <= p2. */
static inline Chord chord_of(double line, const double *p, const double *q, const Bends *bends)
{
    /* it runs from the long edge 02 to one of the two others */
    double s = (line - p[0]) / (p[2] - p[0]), t, qb, bb, l0, l1, l2;
    double qa = q[0] + s * (q[2] - q[0]);
    double ba = 4.0 * s * (1.0 - s) * bends->b02;
    if (line <= p[1]) {
        t = (line - p[0]) / (p[1] - p[0]);
        qb = q[0] + t * (q[1] - q[0]);
        bb = 4.0 * t * (1.0 - t) * bends->b01;
        l0 = 1.0 - 0.5 * (s + t), l1 = 0.5 * t, l2 = 0.5 * s;
    } else {
        t = (line - p[1]) / (p[2] - p[1]);
        qb = q[1] + t * (q[2] - q[1]);
        bb = 4.0 * t * (1.0 - t) * bends->b12;
        l0 = 0.5 * (1.0 - s), l1 = 0.5 * (1.0 - t), l2 = 0.5 * (s + t);
    }
    double middle = 4.0 * (l0 * l1 * bends->b01 + l1 * l2 * bends->b12 + l0 * l2 * bends->b02);
    if (qa > qb) {
        SWAP(double, qa, qb);
        SWAP(double, ba, bb);
    }
    double c2 = 2.0 * (ba + bb) - 4.0 * middle;
    Chord chord = {.begin = qa, .length = qb - qa, .end = qb, .b = ba, .c1 = bb - ba - c2, .c2 = c2};
    return chord;
}

/* Move light over the cell borders p = 1, 2, ... by as much as the curved map is off the straight one.
 *
 * Inside an element the map is the linear one through its corners plus the quadratic that vanishes there and
 * takes the values b01, b12, b02 in the middle of the edges. To first order in that quadratic the light
 * crossing a border is its integral along the chord of the border inside the element.
 *
 * `across` and `along` are the steps from cell to cell in directions p and q, with n_across and n_along
 * cells. */
static void shift(double *cells, ptrdiff_t across, ptrdiff_t along, ptrdiff_t n_across, ptrdiff_t n_along,
                  const double *corners_p, const double *corners_q, Bends bends, double scale)
{
    double p[3] = {corners_p[0], corners_p[1], corners_p[2]};
    double q[3] = {corners_q[0], corners_q[1], corners_q[2]};
    for (int pass = 0; pass < 3; pass++) { /* in order of p */
        if (pass != 1 && p[0] > p[1]) {
            SWAP(double, p[0], p[1]);
            SWAP(double, q[0], q[1]);
            SWAP(double, bends.b02, bends.b12);
        } else if (pass == 1 && p[1] > p[2]) {
            SWAP(double, p[1], p[2]);
            SWAP(double, q[1], q[2]);
            SWAP(double, bends.b01, bends.b02);
        }
    }
    ptrdiff_t first = p[0] < 0.0 ? 0 : (ptrdiff_t)p[0] + 1;
    ptrdiff_t last = (ptrdiff_t)lower(p[2], (double)n_across + 1.0);
    last -= (double)last >= p[2]; /* the last one below p2, up to n_across */
    last = fewer(last, n_across);
    for (ptrdiff_t line = first; line <= last; line++) {
        Chord chord = chord_of((double)line, p, q, &bends);
        if (chord.length <= 0.0 || chord.end <= 0.0 || chord.begin >= n_along)
            continue;
        ptrdiff_t k = (ptrdiff_t)higher(chord.begin, 0.0);
        ptrdiff_t stop = (ptrdiff_t)lower(chord.end, n_along - 1.0);
        double begins = (k - chord.begin) / chord.length;
        for (; k <= stop; k++) {
            double ends = (k + 1 - chord.begin) / chord.length;
            double u = higher(0.0, begins), v = lower(1.0, ends);
            double moved = chord.b * (v - u) + chord.c1 * (v * v - u * u) / 2 +
                           chord.c2 * (v * v * v - u * u * u) / 3;
            moved *= scale * chord.length;
            double *cell = cells + line * across + k * along;
            if (line >= 1)
                put(cell - across, -moved);
            if (line < n_across)
                put(cell, moved);
            begins = ends;
        }
    }
}

static inline Bends bends_of(const double *nodes, const double *corners, double origin)
{
    Bends bends = {
        .b01 = nodes[3] - origin - 0.5 * (corners[0] + corners[1]),
        .b12 = nodes[4] - origin - 0.5 * (corners[1] + corners[2]),
        .b02 = nodes[5] - origin - 0.5 * (corners[2] + corners[0]),
    };
    return bends;
}

/* Whether an element of some extent bends, and not so much that it folds. */
static inline int is_curved(const Bends *bends, double extent)
{
    double bend = higher(higher(fabs(bends->b01), fabs(bends->b12)), fabs(bends->b02));
    return STRAIGHT < bend && bend < FOLDED * extent;
}

/* Spread `weight` over the cells of a window in proportion to their overlap with an element.
 *
 * The first cell of the window is in column c and row r. nodes_x and nodes_y (6) are the corners, and middles
 * of the edges 01, 12, 20; they may lie outside. */
static void add_triangle(const Window *window, const double *nodes_x, const double *nodes_y, ptrdiff_t c,
                         ptrdiff_t r, double weight)
{
    double *cells = window->cells;
    ptrdiff_t stride = window->stride, width = window->width, height = window->height;
    double x[3] = {nodes_x[0] - c, nodes_x[1] - c, nodes_x[2] - c};
    double y[3] = {nodes_y[0] - r, nodes_y[1] - r, nodes_y[2] - r};
    double x_lo = lower(lower(x[0], x[1]), x[2]), x_hi = higher(higher(x[0], x[1]), x[2]);
    double y_lo = lower(lower(y[0], y[1]), y[2]), y_hi = higher(higher(y[0], y[1]), y[2]);
    if (x_hi < 0.0 || y_hi < 0.0 || x_lo > width || y_lo > height)
        return;
    int inside = x_lo >= 0.0 && y_lo >= 0.0 && x_hi <= width && y_hi <= height;
    if (inside && x_hi < width && y_hi < height && (ptrdiff_t)x_lo == (ptrdiff_t)x_hi
        && (ptrdiff_t)y_lo == (ptrdiff_t)y_hi) {
        put(cells + (ptrdiff_t)y_lo * stride + (ptrdiff_t)x_lo, weight);
        return;
    }
    double twice = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]);
    if (fabs(twice) <= THIN * higher(x_hi - x_lo, y_hi - y_lo)) {
        Point p0 = {x[0], y[0]}, p1 = {x[1], y[1]}, p2 = {x[2], y[2]};
        add_segment(window, p0, p1, p2, weight);
        return;
    }
    double scale = -2.0 * weight / twice;
    if (inside) {
        walk_edge(window, x[0], y[0], x[1], y[1], scale);
        walk_edge(window, x[1], y[1], x[2], y[2], scale);
        walk_edge(window, x[2], y[2], x[0], y[0], scale);
    } else {
        walk_edge_clipped(window, x[0], y[0], x[1], y[1], scale);
        walk_edge_clipped(window, x[1], y[1], x[2], y[2], scale);
        walk_edge_clipped(window, x[2], y[2], x[0], y[0], scale);
    }
    scale = fabs(scale);
    Bends bends = bends_of(nodes_x, x, (double)c);
    if (is_curved(&bends, x_hi - x_lo))
        shift(cells, 1, stride, width, height, x, y, bends, scale);
    bends = bends_of(nodes_y, y, (double)r);
    if (is_curved(&bends, y_hi - y_lo))
        shift(cells, stride, 1, height, width, y, x, bends, scale);
}

#endif
