/* B-splines of order 1 and 2 in one piece between knots, and edges that are walked from piece to piece.
 *
 * Coordinates and pieces are as of `lenssuper.operators.overlap.bsplines`. In a piece (m, k), that is in row
 * m and column k, the splines k - n, ..., k overlap along x; arrays of three hold one number for each of
 * them, and with order 1 only two are used. `order` is a constant in every call from outside, so that loops
 * over splines have a fixed length.
 */

#ifndef LENSSUPER_SPLINEPIECES_H
#define LENSSUPER_SPLINEPIECES_H

#include "../../_utils/kernels.h"

/* Gauss-Legendre on (0, 1): row n has the n + 1 nodes that are exact for polynomials of degree 2 n + 1. */
static const double NODES[4][4] = {
    {0.5},
    {0.21132486540518713, 0.7886751345948129},
    {0.1127016653792583, 0.5, 0.8872983346207417},
    {0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262},
};
static const double WEIGHTS[4][4] = {
    {1.0},
    {0.5, 0.5},
    {0.27777777777777785, 0.4444444444444444, 0.27777777777777785},
    {0.17392742256872679, 0.3260725774312732, 0.3260725774312732, 0.17392742256872679},
};

/* Three barycentric coordinates and the weight of each point of a rule of six for triangles, exact to degree
 * 4 (Strang & Fix 1973, table 4.1): two of the coordinates are a = (8 - r + s) / 18 with the weight (620 + w)
 * / 3720, or a = (8 - r - s) / 18 with (620 - w) / 3720, where r = sqrt(10), s = sqrt(38 - 44 sqrt(0.4)) and
 * w = sqrt(213125 - 53320 r). */
static const double SIX[6][4] = {
    {0.44594849091596483, 0.44594849091596483, 0.10810301816807033, 0.22338158967801144},
    {0.44594849091596483, 0.10810301816807033, 0.44594849091596483, 0.22338158967801144},
    {0.10810301816807033, 0.44594849091596483, 0.44594849091596483, 0.22338158967801144},
    {0.09157621350977073, 0.09157621350977073, 0.8168475729804585, 0.10995174365532187},
    {0.09157621350977073, 0.8168475729804585, 0.09157621350977073, 0.10995174365532187},
    {0.8168475729804585, 0.09157621350977073, 0.09157621350977073, 0.10995174365532187},
};

/* Splines around an image pixel that sum up its light: rows of `width` + 2 for `width` pieces. */
typedef struct {
    double *light;
    ptrdiff_t width, height; /* in pieces */
} Window;

/* A triangle: its density, a linear function (its value at the origin, and its derivatives along x and y),
 * what the integrals are multiplied by, the last spline that it reaches, and the number of nodes that
 * quadrature needs. */
typedef struct {
    double density[3];
    double scale;
    ptrdiff_t last;
    int nodes;
} Element;

/* An edge from (x0, y0) to (x0 + dx, y0 + dy) whose middle is off the straight line by (bend_x, bend_y). */
typedef struct {
    double x0, y0, dx, dy, bend_x, bend_y;
} Edge;

/* A source: coefficients of splines, and their sums along the row up to each column (rows, columns + 1). */
typedef struct {
    const double *values, *before;
    ptrdiff_t rows, columns;
} Coefficients;

static inline double square(double x) { return x * x; }

/* Return the largest whole number up to x. */
static inline ptrdiff_t floored(double x)
{
    ptrdiff_t whole = (ptrdiff_t)x;
    return whole - (whole > x);
}

/* Write the splines k - n, ... at t in the piece k. */
static inline void values_at(int order, double t, double *values)
{
    double s = 1.0 - t;
    if (order == 1)
        values[0] = s, values[1] = t;
    else
        values[0] = 0.5 * s * s, values[1] = 0.5 + t * s, values[2] = 0.5 * t * t;
}

/* Write the integrals of the splines k - n, ... over all that is to the right of t in the piece k. */
static inline void integrals_beyond(int order, double t, double *beyond)
{
    double s = 1.0 - t;
    if (order == 1) {
        beyond[0] = 0.5 * s * s, beyond[1] = 1.0 - 0.5 * t * t;
    } else {
        beyond[0] = s * s * s / 6.0;
        beyond[1] = 5.0 / 6.0 - t * (0.5 + t * (0.5 - t / 3.0));
        beyond[2] = 1.0 - t * t * t / 6.0;
    }
}

/* Write the integrals of spline times x - k over all that is to the right of t in the piece k. */
static inline void moments_beyond(int order, double t, double *moments)
{
    double q = t * t;
    if (order == 1) {
        moments[0] = 1.0 / 6.0 + q * (t / 3.0 - 0.5), moments[1] = 1.0 - t * q / 3.0;
    } else {
        moments[0] = 1.0 / 24.0 - q * (0.25 - t * (1.0 / 3.0 - 0.125 * t));
        moments[1] = 13.0 / 24.0 - q * (0.25 + t * (1.0 / 3.0 - 0.25 * t));
        moments[2] = 1.5 - 0.125 * q * q;
    }
}

/* Add a point of light at x, y in the piece (m, k). */
static inline void add_point(Window window, int order, ptrdiff_t k, ptrdiff_t m, double x, double y,
                             double weight)
{
    double across[3], up[3];
    values_at(order, x - k, across), values_at(order, y - m, up);
    for (int j = 0; j < order + 1; j++) {
        double *cell = window.light + (m + j) * (window.width + 2) + k;
        for (int i = 0; i < order + 1; i++)
            cell[i] += weight * up[j] * across[i];
    }
}

/* Add the part of an edge from s to t that lies in the piece (m, k), or left of them all if k is -1. */
static inline void add_part(Window window, int order, Element element, Edge edge, ptrdiff_t k, ptrdiff_t m,
                            double s, double t)
{
    ptrdiff_t stride = window.width + 2;
    double *row = window.light + m * stride;
    for (int g = 0; g < element.nodes; g++) {
        double at = s + (t - s) * NODES[element.nodes - 1][g];
        double weight = element.scale * (t - s) * WEIGHTS[element.nodes - 1][g];
        double x = edge.x0 + at * edge.dx, y = edge.y0 + at * edge.dy;
        double climb = weight * edge.dy;
        double here = element.density[0] + element.density[2] * y + element.density[1] * k;
        double flux = -4.0 * weight * at * (1.0 - at) * (edge.bend_x * edge.dy - edge.bend_y * edge.dx);
        double across[3], up[3], beyond[3], moments[3];
        values_at(order, y - m, up);
        if (k >= 0) {
            values_at(order, x - k, across);
            integrals_beyond(order, x - k, beyond), moments_beyond(order, x - k, moments);
            for (int i = 0; i < order + 1; i++) {
                double light = climb * (here * beyond[i] + element.density[1] * moments[i]);
                light += flux * across[i];
                for (int j = 0; j < order + 1; j++)
                    row[j * stride + k + i] += up[j] * light;
            }
        }
        /* all of the splines further to the right: their middles are at i - (order - 1) / 2 */
        for (ptrdiff_t i = more(k + 1, 0) + order; i < element.last + 1; i++) {
            double light = climb * (here + element.density[1] * ((i - k) - 0.5 * (order - 1)));
            for (int j = 0; j < order + 1; j++)
                row[j * stride + i] += up[j] * light;
        }
    }
}

/* Return the piece that holds x: -1 or n outside of n pieces. */
static inline ptrdiff_t piece_of(double x, ptrdiff_t n) { return floored(within(x, -1.0, n + 0.5)); }

/* Return at which part of a line from x to x + dx it leaves the piece k; infinity outside of n pieces. */
static inline double to_knot(ptrdiff_t k, double x, double dx, ptrdiff_t n)
{
    ptrdiff_t knot = dx > 0.0 ? k + 1 : k;
    return dx != 0.0 && 0 <= knot && knot <= n ? (knot - x) / dx : INFINITY;
}

/* Go to the next piece along a line, which is beside this one or (where `beside` is 0) above or below it. */
static inline void step_on(int beside, double dx, double dy, ptrdiff_t *k, ptrdiff_t *m)
{
    if (beside)
        *k += dx > 0.0 ? 1 : -1;
    else
        *m += dy > 0.0 ? 1 : -1;
}

/* Walk one edge of an element from knot to knot. */
static inline void add_edge(Window window, int order, Element element, Edge edge)
{
    ptrdiff_t k = piece_of(edge.x0, window.width), m = piece_of(edge.y0, window.height);
    for (double s = 0.0, t; s < 1.0; s = t) {
        double to_k = to_knot(k, edge.x0, edge.dx, window.width);
        double to_m = to_knot(m, edge.y0, edge.dy, window.height);
        t = within(lower(to_k, to_m), s, 1.0);
        if (t > s && 0 <= m && m < window.height && k < window.width)
            add_part(window, order, element, edge, k, m, s, t);
        step_on(to_k <= to_m, edge.dx, edge.dy, &k, &m);
    }
}

/* Write a source at a point of the piece (m, k), and its integral to the left of the point. */
static inline void source_at(Coefficients source, int order, ptrdiff_t k, ptrdiff_t m, double x, double y,
                             double *value, double *left)
{
    double across[3], beyond[3], up[3];
    values_at(order, x - k, across), integrals_beyond(order, x - k, beyond), values_at(order, y - m, up);
    *value = *left = 0.0;
    for (ptrdiff_t j = more(order - m, 0); j < fewer(order + 1, source.rows + order - m); j++) {
        ptrdiff_t row = m - order + j;
        ptrdiff_t column = fewer(more(k - order, 0), source.columns);
        *left += up[j] * source.before[row * (source.columns + 1) + column];
        for (ptrdiff_t i = more(order - k, 0); i < fewer(order + 1, source.columns + order - k); i++) {
            double part = up[j] * source.values[row * source.columns + k - order + i];
            *value += part * across[i];
            *left += part * (1.0 - beyond[i]);
        }
    }
}

/* Write the integrals along one edge from (xa, ya) to (xb, yb): of source * (1 - t), of source * t over t,
 * and over y of the integral of the source to the left of a point. */
static inline void integrate_edge(Coefficients source, int order, double xa, double ya, double xb, double yb,
                                  double *out)
{
    ptrdiff_t columns = source.columns + order, rows = source.rows + order; /* of pieces */
    double dx = xb - xa, dy = yb - ya;
    double first = 0.0, last = 0.0, below = 0.0;
    ptrdiff_t k = piece_of(xa, columns), m = piece_of(ya, rows);
    for (double s = 0.0, t; s < 1.0; s = t) {
        double to_k = to_knot(k, xa, dx, columns), to_m = to_knot(m, ya, dy, rows);
        t = within(lower(to_k, to_m), s, 1.0);
        if (t > s && k >= 0 && 0 <= m && m < rows) {
            for (int g = 0; g < order + 1; g++) {
                double at = s + (t - s) * NODES[order][g], weight = (t - s) * WEIGHTS[order][g];
                double value, left;
                source_at(source, order, k, m, xa + at * dx, ya + at * dy, &value, &left);
                first += weight * (1.0 - at) * value;
                last += weight * at * value;
                below += weight * dy * left;
            }
        }
        step_on(to_k <= to_m, dx, dy, &k, &m);
    }
    out[0] = first, out[1] = last, out[2] = below;
}

#endif
