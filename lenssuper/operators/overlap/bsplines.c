/* Exact integrals of B-splines over mapped image elements, for sources that are smoother than cells.
 *
 * A source of order n is a sum of tensor products of B-splines of degree n, 1 or 2 here; between knots, which
 * are one source pixel apart, it is a polynomial (de Boor 1978, A Practical Guide to Splines, ch. X).
 * Coordinates are in source pixels, shifted such that the knots are whole numbers: spline (i, j) rises from
 * zero at x = j, y = i and is zero again at x = j + n + 1, y = i + n + 1. A *piece* is a unit square between
 * knots, where n + 1 splines overlap along each axis.
 *
 * The integral of a spline over a triangle is one along its edges (Green's theorem): of B(y) dy times the
 * integral of B to the right of the edge. Each edge is walked from knot to knot; between two of them the
 * integrand is a polynomial, for which Gauss quadrature is exact. No clipped polygon is ever formed.
 *
 * Where the edges of an element bend, the map is x -> x + d(x), with d the quadratic that vanishes at the
 * corners. To first order in d the integral over it is that of B (1 - div d) over the straight triangle, plus
 * the flux of B d through its edges: both are polynomials between knots too.
 */

#include "../../_utils/arguments.h"
#include "edges.h"
#include "splinepieces.h"

/* Elements narrower than this (in source pixels, relative to their length) are treated as segments. */
#define THIN 1e-9
/* Edges that bend less than this are straight but for rounding. */
#define STRAIGHT 1e-12
/* Elements that bend more than this part of their extent are too far from straight for a first-order
 * correction; those whose height squared is less than this part of bend times extent, too narrow for it: the
 * divergence of the bend would be all rounding. */
#define FOLDED 0.25
#define NARROW 1e-7
/* Weights below this are rounding noise. */
#define NOISE 1e-13

/* Add a triangle that has shrunk to a segment, or to a point.
 *
 * The image-plane area of a triangle whose corners fall at 0 <= b <= 1 along a line is spread there with a
 * density that rises linearly up to b and falls beyond it. */
static inline void add_segment(Window window, int order, const double *x, const double *y, double weight)
{
    double a = square(x[0] - x[1]) + square(y[0] - y[1]);
    double b = square(x[1] - x[2]) + square(y[1] - y[2]);
    double longest = square(x[2] - x[0]) + square(y[2] - y[0]);
    int first = 0, middle = 1, last = 2; /* turn the corners so that this is the longest side */
    if (a >= b && a > longest)
        middle = 2, last = 1, longest = a;
    else if (b > longest)
        first = 1, middle = 0, longest = b;
    double x0 = x[first], y0 = y[first], dx = x[last] - x0, dy = y[last] - y0;
    double peak = 0.5;
    if (longest > 0.0)
        peak = within(((x[middle] - x0) * dx + (y[middle] - y0) * dy) / longest, 0.0, 1.0);
    ptrdiff_t k = piece_of(x0, window.width), m = piece_of(y0, window.height);
    for (double s = 0.0, t; s < 1.0; s = t) {
        double to_k = to_knot(k, x0, dx, window.width), to_m = to_knot(m, y0, dy, window.height);
        double end = within(lower(to_k, to_m), s, 1.0);
        t = s < peak && peak < end ? peak : end;
        if (t > s && 0 <= m && m < window.height && 0 <= k && k < window.width) {
            for (int g = 0; g < order + 1; g++) {
                double at = s + (t - s) * NODES[order][g];
                double density = 2.0 * (t <= peak ? at / peak : (1.0 - at) / (1.0 - peak));
                double part = weight * density * (t - s) * WEIGHTS[order][g];
                add_point(window, order, k, m, x0 + at * dx, y0 + at * dy, part);
            }
        }
        if (t == end)
            step_on(to_k <= to_m, dx, dy, &k, &m);
    }
}

/* Add an element that lies in one piece, by a rule for triangles that is exact for its polynomial. */
static inline void add_inside_piece(Window window, int order, ptrdiff_t k, ptrdiff_t m, const double *x,
                                    const double *y, double weight)
{
    for (int i = 0; i < 6; i++) {
        double a = SIX[i][0], b = SIX[i][1], c = SIX[i][2];
        /* the quadratic through the nodes */
        double p = a * (2.0 * a - 1.0), q = b * (2.0 * b - 1.0), r = c * (2.0 * c - 1.0);
        double at_x = p * x[0] + q * x[1] + r * x[2] + 4.0 * (a * b * x[3] + b * c * x[4] + c * a * x[5]);
        double at_y = p * y[0] + q * y[1] + r * y[2] + 4.0 * (a * b * y[3] + b * c * y[4] + c * a * y[5]);
        add_point(window, order, k, m, at_x, at_y, weight * SIX[i][3]);
    }
}

/* Check whether an element is bent, and not so much that the first order means nothing. */
static inline int is_bent(const double *u, const double *v, double twice, double extent)
{
    double bend = higher(fabs(u[0]), fabs(u[1]));
    bend = higher(higher(bend, fabs(u[2])), fabs(v[0]));
    bend = higher(higher(bend, fabs(v[1])), fabs(v[2]));
    return STRAIGHT < bend && bend < FOLDED * extent
           && twice * twice > NARROW * bend * (extent * (extent * extent));
}

/* Write 1 - div d, a linear function: its value at the origin, and its derivatives along x and y.
 *
 * u, v are the bends of the edges 01, 12, 20. */
static inline void density_of(const double *x, const double *y, const double *u, const double *v,
                              double twice, double *density)
{
    /* gradients of the barycentric coordinates */
    double g0x = (y[1] - y[2]) / twice, g0y = (x[2] - x[1]) / twice;
    double g1x = (y[2] - y[0]) / twice, g1y = (x[0] - x[2]) / twice;
    double g2x = (y[0] - y[1]) / twice, g2y = (x[1] - x[0]) / twice;
    /* the divergence at the corners */
    double at0 = 4.0 * (g1x * u[0] + g1y * v[0] + g2x * u[2] + g2y * v[2]);
    double at1 = 4.0 * (g0x * u[0] + g0y * v[0] + g2x * u[1] + g2y * v[1]);
    double at2 = 4.0 * (g0x * u[2] + g0y * v[2] + g1x * u[1] + g1y * v[1]);
    density[1] = -(g0x * at0 + g1x * at1 + g2x * at2);
    density[2] = -(g0y * at0 + g1y * at1 + g2y * at2);
    density[0] = 1.0 - at0 - density[1] * x[0] - density[2] * y[0];
}

/* Spread `weight` over the splines of a window by their integral over an element, divided by its area.
 *
 * x and y are corners, and middles of the edges 01, 12, 20, from the first piece of the window on; they may
 * lie outside. */
static inline void add_triangle(Window window, int order, const double *x, const double *y, double weight)
{
    double x_low = lower(lower(x[0], x[1]), x[2]), x_high = higher(higher(x[0], x[1]), x[2]);
    double y_low = lower(lower(y[0], y[1]), y[2]), y_high = higher(higher(y[0], y[1]), y[2]);
    if (x_high < 0.0 || y_high < 0.0 || x_low >= window.width || y_low >= window.height)
        return;
    ptrdiff_t k = floored(higher(x_low, -1.0)), m = floored(higher(y_low, -1.0));
    if (k >= 0 && m >= 0 && x_high <= k + 1.0 && y_high <= m + 1.0) {
        add_inside_piece(window, order, k, m, x, y, weight);
        return;
    }
    double twice = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]);
    double extent = higher(x_high - x_low, y_high - y_low);
    if (fabs(twice) <= THIN * extent) {
        add_segment(window, order, x, y, weight);
        return;
    }
    /* the last spline that the element reaches */
    ptrdiff_t last = floored(lower(x_high, window.width - 0.5)) + order;
    Element element = {{1.0, 0.0, 0.0}, -2.0 * weight / twice, last, order + 1};
    double u[3] = {x[3] - 0.5 * (x[0] + x[1]), x[4] - 0.5 * (x[1] + x[2]), x[5] - 0.5 * (x[2] + x[0])};
    double v[3] = {y[3] - 0.5 * (y[0] + y[1]), y[4] - 0.5 * (y[1] + y[2]), y[5] - 0.5 * (y[2] + y[0])};
    int bent = is_bent(u, v, twice, extent);
    if (bent) {
        element.nodes = order + 2; /* the bend adds one to the degree */
        density_of(x, y, u, v, twice, element.density);
    }
    for (int a = 0; a < 3; a++) {
        int b = (a + 1) % 3;
        Edge edge = {x[a], y[a], x[b] - x[a], y[b] - y[a], bent ? u[a] : 0.0, bent ? v[a] : 0.0};
        add_edge(window, order, element, edge);
    }
}

/* Append the entries of a window whose first spline is (r, c), in order, and clear the window; return how
 * many entries there are then.
 *
 * Negative entries are dropped and the others rescaled, so that the sum stays what it was: `total` where that
 * is known (>= 0), else that of the entries. */
static ptrdiff_t write_entries(Window window, ptrdiff_t c, ptrdiff_t r, ptrdiff_t rows, ptrdiff_t columns,
                               double total, int32_t *cells, double *values, ptrdiff_t n)
{
    ptrdiff_t stride = window.width + 2, start = n;
    double kept = 0.0, dropped = 0.0;
    for (ptrdiff_t i = 0; i < window.height + 2; i++) {
        for (ptrdiff_t j = 0; j < stride; j++) {
            double value = window.light[i * stride + j];
            window.light[i * stride + j] = 0.0;
            if (!(0 <= r + i && r + i < rows && 0 <= c + j && c + j < columns))
                continue;
            if (value > NOISE) {
                cells[n] = (int32_t)((r + i) * columns + c + j);
                values[n++] = value;
                kept += value;
            } else {
                dropped += value;
            }
        }
    }
    if (total < 0.0)
        total = kept + dropped;
    if (kept > 0.0 && total != kept) {
        double factor = higher(total, 0.0) / kept;
        for (ptrdiff_t k = start; k < n; k++)
            values[k] *= factor;
    }
    return n;
}

/* The elements of image pixels, see `fill`. */
typedef struct {
    const int64_t *starts, *stops;
    const double *x, *y, *weights;
} Elements;

static inline ptrdiff_t fill_pixels(int order, Elements elements, ptrdiff_t pixel, ptrdiff_t pixels,
                                    ptrdiff_t rows, ptrdiff_t columns, double *light, int32_t *cells,
                                    double *values, ptrdiff_t room, int64_t *ends)
{
    ptrdiff_t n = (ptrdiff_t)ends[pixel];
    for (ptrdiff_t p = pixel; p < pixels; p++) {
        double x_low = INFINITY, y_low = INFINITY, x_high = -INFINITY, y_high = -INFINITY;
        for (int64_t e = elements.starts[p]; e < elements.stops[p]; e++) {
            for (int k = 0; k < 3; k++) {
                x_low = lower(x_low, elements.x[6 * e + k]), x_high = higher(x_high, elements.x[6 * e + k]);
                y_low = lower(y_low, elements.y[6 * e + k]), y_high = higher(y_high, elements.y[6 * e + k]);
            }
        }
        /* where all splines that overlap are there, they add up to one */
        int inside = x_low >= order && y_low >= order && x_high <= columns && y_high <= rows;
        ptrdiff_t c = (ptrdiff_t)within(x_low, 0.0, (double)(columns + order));
        ptrdiff_t r = (ptrdiff_t)within(y_low, 0.0, (double)(rows + order));
        ptrdiff_t width = (ptrdiff_t)higher(lower(x_high, columns + order - 0.5), -1.0) + 1 - c;
        ptrdiff_t height = (ptrdiff_t)higher(lower(y_high, rows + order - 0.5), -1.0) + 1 - r;
        ends[p + 1] = n;
        if (width <= 0 || height <= 0)
            continue;
        if (n + (width + 2) * (height + 2) > room)
            return p;
        Window window = {light, width, height};
        for (int64_t e = elements.starts[p]; e < elements.stops[p]; e++) {
            double x[6], y[6];
            for (int k = 0; k < 6; k++)
                x[k] = elements.x[6 * e + k] - c, y[k] = elements.y[6 * e + k] - r;
            add_triangle(window, order, x, y, elements.weights[e]);
        }
        n = write_entries(window, c - order, r - order, rows, columns, inside ? 1.0 : -1.0, cells, values, n);
        ends[p + 1] = n;
    }
    return pixels;
}

static void along_order_1(const void *source, double xa, double ya, double xb, double yb, double *out)
{
    integrate_edge(*(const Coefficients *)source, 1, xa, ya, xb, yb, out);
}

static void along_order_2(const void *source, double xa, double ya, double xb, double yb, double *out)
{
    integrate_edge(*(const Coefficients *)source, 2, xa, ya, xb, yb, out);
}

PyDoc_STRVAR(fill_doc,
"fill(order, starts, stops, x, y, weights, rows, columns, light, pixel, cells, values, ends)\n--\n\n"
"Write the entries of image pixels one after the other, from `pixel` on, until the output is full.\n\n"
"order: 1 or 2.\n"
"starts, stops (pixels,): the elements of each pixel; x, y (elements, 6): mapped corners, then middles of\n"
"the edges 01, 12, 20; and weights (elements,), the share of each element in its pixel.\n"
"rows, columns: of splines.\n"
"light: zeros, at least (rows + order + 2) * (columns + order + 2); zeros again on return.\n"
"pixel, cells, values, ends: as of `lenssuper.operators.overlap.clip.fill`, which also says what is\n"
"returned.");

static PyObject *fill(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "n order", "l starts (pixels)", "l stops (pixels)", "d x (elements, 6)", "d y (elements, 6)",
        "d weights (elements)", "n rows", "n columns", "D light (*)", "n pixel", "I cells (room)",
        "D values (room)", "L ends (pixels+1)",
    };
    Argument a[13];
    if (!take(objects, count, rules, a, 13))
        return NULL;
    Elements elements = {a[1].data, a[2].data, a[3].data, a[4].data, a[5].data};
    ptrdiff_t pixel = a[9].integer, pixels = a[1].shape[0], rows = a[6].integer, columns = a[7].integer;
    Py_BEGIN_ALLOW_THREADS
    if (a[0].integer == 1)
        pixel = fill_pixels(1, elements, pixel, pixels, rows, columns, a[8].data, a[10].data, a[11].data,
                            a[11].shape[0], a[12].data);
    else
        pixel = fill_pixels(2, elements, pixel, pixels, rows, columns, a[8].data, a[10].data, a[11].data,
                            a[11].shape[0], a[12].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 13);
    return PyLong_FromSsize_t(pixel);
}

PyDoc_STRVAR(edge_integrals_doc, "edge_integrals(source, before, order, u, v, across, up, diagonal)\n--\n\n"
"Write what `lenssuper.operators.overlap.gradient.edge_integrals` does, for a source of splines.\n\n"
"source are coefficients of splines, before (rows, columns + 1) their sums along the row up to each column.");

static PyObject *edge_integrals(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d source (rows, columns)", "d before (rows, columns+1)", "n order", "d u (m+1, n+1)",
        "d v (m+1, n+1)", "D across (m+1, n, 3)", "D up (m, n+1, 3)", "D diagonal (m, n, 3)",
    };
    Argument a[8];
    if (!take(objects, count, rules, a, 8))
        return NULL;
    Coefficients source = {a[0].data, a[1].data, a[0].shape[0], a[0].shape[1]};
    Py_BEGIN_ALLOW_THREADS
    if (a[2].integer == 1)
        write_along_edges(along_order_1, &source, a + 3);
    else
        write_along_edges(along_order_2, &source, a + 3);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 8);
    Py_RETURN_NONE;
}

KERNEL_MODULE(bsplines, "Integrals of B-splines over mapped image elements.",
              KERNEL(fill), KERNEL(edge_integrals))
