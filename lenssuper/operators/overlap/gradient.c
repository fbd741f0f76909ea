/* Derivatives of the light of lensed pixels with respect to their lensed corners.
 *
 * The light L of a triangle is the integral of the source over it, divided by its area A. Moving a corner
 * moves the two edges that meet there, and the integral changes by the source along each edge, weighted by
 * how much of the displacement each point shares (Reynolds' transport theorem), so the derivative of
 * L = S / A with respect to corner a of an edge from a to b is
 *
 *     1/A * integral over t from 0 to 1 of (source(a + t (b - a)) - L) (1 - t) dt * (b_y - a_y, a_x - b_x).
 *
 * The source is constant inside each cell, so the integrals along an edge are sums over the pieces between
 * borders. Coordinates are in cells of the source grid; the source is zero outside.
 */

#include "../../_utils/arguments.h"
#include "edges.h"

/* Triangles of less area (in cells) than this have no useful derivative, and hardly any light. */
#define THIN 1e-9

/* A source (rows, columns), and the sum of each of its rows up to each column (rows, columns + 1). */
typedef struct {
    const double *values, *before;
    ptrdiff_t rows, columns;
} Source;

/* The corners u, v (m + 1, n + 1) of a lattice of squares, and three integrals along each edge: across
 * (m + 1, n, 3), up (m, n + 1, 3) and diagonal (m, n, 3), from corner (i, j) to (i + 1, j + 1). */
typedef struct {
    const double *u, *v, *across, *up, *diagonal;
    ptrdiff_t m, n;
} Lattice;

/* Write the integrals along one edge: of source * (1 - t), of source * t over t, and of `before` over y. */
static void integrate_along(const void *of, double xa, double ya, double xb, double yb, double *out)
{
    const Source *source = of;
    ptrdiff_t rows = source->rows, columns = source->columns;
    double dx = xb - xa, dy = yb - ya, near = 0.0, far = 0.0, below = 0.0, s = 0.0;
    ptrdiff_t c = (ptrdiff_t)floor(within(xa, -1.0, columns + 0.5));
    ptrdiff_t r = (ptrdiff_t)floor(within(ya, -1.0, rows + 0.5));
    ptrdiff_t step_c = dx > 0.0 ? 1 : -1, step_r = dy > 0.0 ? 1 : -1;
    while (s < 1.0) {
        ptrdiff_t line_c = c + (dx > 0.0), line_r = r + (dy > 0.0);
        double to_c = dx != 0.0 && 0 <= line_c && line_c <= columns ? (line_c - xa) / dx : HUGE_VAL;
        double to_r = dy != 0.0 && 0 <= line_r && line_r <= rows ? (line_r - ya) / dy : HUGE_VAL;
        double t = within(lower(to_c, to_r), s, 1.0);
        if (0 <= r && r < rows && 0 <= c) {
            const double *before = source->before + r * (columns + 1);
            if (c < columns) {
                double value = source->values[r * columns + c];
                near += value * (t - s) * (1.0 - 0.5 * (t + s));
                far += value * 0.5 * (t * t - s * s);
                below += dy * (t - s) * (before[c] + value * (xa + 0.5 * (t + s) * dx - c));
            } else {
                below += dy * (t - s) * before[columns];
            }
        }
        if (to_c <= to_r)
            c += step_c;
        else
            r += step_r;
        s = t;
    }
    out[0] = near, out[1] = far, out[2] = below;
}

PyDoc_STRVAR(edge_integrals_doc, "edge_integrals(source, before, u, v, across, up, diagonal)\n--\n\n"
"Write the integrals along the edges of a lattice of corners u, v of shape (m + 1, n + 1).\n\n"
"across (m + 1, n, 3), up (m, n + 1, 3) and diagonal (m, n, 3), which runs from corner (i, j) to (i + 1,\n"
"j + 1), are filled. `before` (rows, columns + 1) is the sum of the row of the source up to each column.");

static PyObject *edge_integrals(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d source (rows, columns)", "d before (rows, columns+1)", "d u (m+1, n+1)", "d v (m+1, n+1)",
        "D across (m+1, n, 3)", "D up (m, n+1, 3)", "D diagonal (m, n, 3)",
    };
    Argument a[7];
    if (!take(objects, count, rules, a, 7))
        return NULL;
    Source source = {.values = a[0].data, .before = a[1].data, .rows = a[0].shape[0],
                     .columns = a[0].shape[1]};
    Py_BEGIN_ALLOW_THREADS
    write_along_edges(integrate_along, &source, a + 2);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 7);
    Py_RETURN_NONE;
}

/* Half a square of the lattice: its corners a, b, c (indices of u and v), its area and light, and the
 * integrals along its edges from a to b, from b to c and from a to c.
 *
 * Corners are counter-clockwise below the diagonal (half 0), clockwise above: the area changes its sign. */
typedef struct {
    ptrdiff_t a, b, c;
    double area, light;
    const double *first, *second, *diagonal;
} Triangle;

static inline Triangle triangle_of(const Lattice *lattice, ptrdiff_t i, ptrdiff_t j, int half)
{
    const double *u = lattice->u, *v = lattice->v;
    ptrdiff_t n = lattice->n, a = i * (n + 1) + j, b = half ? a + n + 1 : a + 1, c = a + n + 2;
    Triangle t = {.a = a, .b = b, .c = c, .diagonal = lattice->diagonal + 3 * (i * n + j)};
    t.first = half ? lattice->up + 3 * a : lattice->across + 3 * (i * n + j);
    t.second = half ? lattice->across + 3 * ((i + 1) * n + j) : lattice->up + 3 * (a + 1);
    t.area = 0.5 * ((u[b] - u[a]) * (v[c] - v[a]) - (v[b] - v[a]) * (u[c] - u[a]));
    t.light = fabs(t.area) >= THIN ? (t.first[2] + t.second[2] - t.diagonal[2]) / t.area : 0.0;
    return t;
}

/* Add the contribution of the edge from corner a to corner b to the derivatives there. */
static inline void add_edge(const Lattice *lattice, ptrdiff_t a, ptrdiff_t b, const double *edge,
                            double light, double scale, double *out_u, double *out_v)
{
    double dx = lattice->u[b] - lattice->u[a], dy = lattice->v[b] - lattice->v[a];
    double near = scale * (edge[0] - 0.5 * light), far = scale * (edge[1] - 0.5 * light);
    out_u[a] += near * dy;
    out_v[a] -= near * dx;
    out_u[b] += far * dy;
    out_v[b] -= far * dx;
}

/* The change of the light of a triangle times its area as the edge from corner a to b is moved. */
static inline double change_by(const Lattice *lattice, const double *along_u, const double *along_v,
                               ptrdiff_t a, ptrdiff_t b, const double *edge, double light)
{
    double dx = lattice->u[b] - lattice->u[a], dy = lattice->v[b] - lattice->v[a];
    double near = edge[0] - 0.5 * light, far = edge[1] - 0.5 * light;
    return near * (dy * along_u[a] - dx * along_v[a]) + far * (dy * along_u[b] - dx * along_v[b]);
}

static void write_gradient(const Lattice *lattice, ptrdiff_t k, void *image_gradient, void *out_u,
                           void *out_v)
{
    const double *image = image_gradient;
    double weight = 0.5 / (double)(k * k);
    ptrdiff_t nx = lattice->n / k;
    for (ptrdiff_t i = 0; i < lattice->m; i++) {
        for (ptrdiff_t j = 0; j < lattice->n; j++) {
            double g = weight * image[i / k * nx + j / k];
            if (g == 0.0)
                continue;
            for (int half = 0; half < 2; half++) {
                Triangle t = triangle_of(lattice, i, j, half);
                if (fabs(t.area) < THIN)
                    continue;
                double scale = g / t.area;
                add_edge(lattice, t.a, t.b, t.first, t.light, scale, out_u, out_v);
                add_edge(lattice, t.b, t.c, t.second, t.light, scale, out_u, out_v);
                add_edge(lattice, t.a, t.c, t.diagonal, t.light, -scale, out_u, out_v);
            }
        }
    }
}

static void write_change(const Lattice *lattice, ptrdiff_t k, void *along_u, void *along_v, void *changed)
{
    double *image = changed;
    double weight = 0.5 / (double)(k * k);
    ptrdiff_t nx = lattice->n / k;
    for (ptrdiff_t i = 0; i < lattice->m; i++) {
        for (ptrdiff_t j = 0; j < lattice->n; j++) {
            for (int half = 0; half < 2; half++) {
                Triangle t = triangle_of(lattice, i, j, half);
                if (fabs(t.area) < THIN)
                    continue;
                double change = change_by(lattice, along_u, along_v, t.a, t.b, t.first, t.light);
                change += change_by(lattice, along_u, along_v, t.b, t.c, t.second, t.light);
                change -= change_by(lattice, along_u, along_v, t.a, t.c, t.diagonal, t.light);
                image[i / k * nx + j / k] += weight * change / t.area;
            }
        }
    }
}

/* What is done with a lattice of k x k squares in each pixel of an image, and three arrays. */
typedef void (*OverLattice)(const Lattice *lattice, ptrdiff_t k, void *first, void *second, void *third);

/* Take the arguments u, v, k, across, up, diagonal and three arrays, of which number `image` is the image. */
static PyObject *over_lattice(PyObject *const *objects, Py_ssize_t count, const char *const *rules, int image,
                              OverLattice work)
{
    Argument a[9];
    if (!take(objects, count, rules, a, 9))
        return NULL;
    Lattice lattice = {
        .u = a[0].data, .v = a[1].data, .across = a[3].data, .up = a[4].data, .diagonal = a[5].data,
        .m = a[5].shape[0], .n = a[5].shape[1],
    };
    ptrdiff_t k = a[2].integer;
    int fits = k > 0 && lattice.m == k * a[image].shape[0] && lattice.n == k * a[image].shape[1];
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        work(&lattice, k, a[6].data, a[7].data, a[8].data);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, "the lattice must have k x k squares in each pixel of the image");
    }
    give_back(rules, a, 9);
    if (!fits)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(corner_gradient_doc,
"corner_gradient(u, v, k, across, up, diagonal, image_gradient, out_u, out_v)\n--\n\n"
"Add the gradient with respect to u and v, from the gradient with respect to the image.\n\n"
"The pixels of `image_gradient` (ny, nx) are k x k squares of the lattice, each two triangles of equal\n"
"weight; `across`, `up` and `diagonal` are as written by `edge_integrals`.");

static PyObject *corner_gradient(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (m+1, n+1)", "d v (m+1, n+1)", "n k", "d across (m+1, n, 3)", "d up (m, n+1, 3)",
        "d diagonal (m, n, 3)", "d image_gradient (ny, nx)", "D out_u (m+1, n+1)", "D out_v (m+1, n+1)",
    };
    return over_lattice(objects, count, rules, 6, write_gradient);
}

PyDoc_STRVAR(image_change_doc,
"image_change(u, v, k, across, up, diagonal, along_u, along_v, image)\n--\n\n"
"Add the change of the image (ny, nx) as the corners u, v of the lattice are moved by along_u, along_v.\n\n"
"k, across, up and diagonal are as of `corner_gradient`.");

static PyObject *image_change(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (m+1, n+1)", "d v (m+1, n+1)", "n k", "d across (m+1, n, 3)", "d up (m, n+1, 3)",
        "d diagonal (m, n, 3)", "d along_u (m+1, n+1)", "d along_v (m+1, n+1)", "D image (ny, nx)",
    };
    return over_lattice(objects, count, rules, 8, write_change);
}

KERNEL_MODULE(gradient, "Derivatives of the light of lensed pixels.",
              KERNEL(edge_integrals), KERNEL(corner_gradient), KERNEL(image_change))
