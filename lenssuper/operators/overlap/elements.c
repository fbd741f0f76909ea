/* Image pixels cut into triangles that the lens maps, as many as the accuracy needs.
 *
 * An element is a triangle of the image plane with its three corners and the middles of its three edges
 * mapped to the source plane (an array row of six numbers per coordinate: corners 0, 1, 2, middles of 01, 12,
 * 20). Its overlap with the cells of the source grid is computed from the straight triangle plus, to first
 * order, the quadratic through the middles; what is left is third order in its size and second order in its
 * curvature.
 *
 * Where that remainder could move more than `tol` of a pixel's light over a cell border, elements are halved
 * across the edge that bends most (`lenssuper.operators.overlap.halving`). Elements that no border crosses,
 * or that land outside the grid, are left whole: they are exact. Coordinates in the source plane are in cells
 * of the source grid.
 */

#include "../../_utils/arguments.h"
#include "accuracy.h"

/* Pixels of an image, and which of them are wanted. */
typedef struct {
    ptrdiff_t rows, columns;
    const char *wanted;
} Pixels;

static void cut_squares(const double *u, const double *v, ptrdiff_t k, Pixels pixels, int64_t *starts,
                        double *x, double *y)
{
    ptrdiff_t stride = k * pixels.columns + 1, e = 0;
    for (ptrdiff_t p = 0; p < pixels.rows * pixels.columns; p++) {
        ptrdiff_t row = p / pixels.columns * k, column = p % pixels.columns * k;
        starts[p] = e;
        for (ptrdiff_t square = 0; pixels.wanted[p] && square < k * k; square++) {
            ptrdiff_t first = (row + square / k) * stride + column + square % k;
            for (int half = 0; half < 2; half++, e++) {
                ptrdiff_t off = first + (half ? stride : 1); /* the corner off the diagonal */
                double *cx = x + 6 * e, *cy = y + 6 * e;
                cx[0] = u[first], cy[0] = v[first];
                cx[1 + half] = u[first + stride + 1], cy[1 + half] = v[first + stride + 1];
                cx[2 - half] = u[off], cy[2 - half] = v[off];
                for (int c = 0; c < 3; c++) {
                    cx[3 + c] = 0.5 * (cx[c] + cx[(c + 1) % 3]);
                    cy[3 + c] = 0.5 * (cy[c] + cy[(c + 1) % 3]);
                }
            }
        }
    }
    starts[pixels.rows * pixels.columns] = e;
}

/* Write half a pixel whose first corner is node `first` of a lattice at half steps: half 0 below the
 * diagonal, 1 above it. */
static inline void half_pixel(const double *lattice, ptrdiff_t stride, ptrdiff_t first, int half,
                              double *element)
{
    ptrdiff_t side = half ? stride : 1, other = half ? 1 : stride;
    const double *node = lattice + first;
    element[0] = node[0];
    element[1] = node[2 * side]; /* the corner off the diagonal */
    element[2] = node[2 * stride + 2];
    element[3] = node[side];
    element[4] = node[2 * side + other];
    element[5] = node[stride + 1];
}

static void cut_pixels(const double *u, const double *v, Pixels pixels, int64_t *starts, double *x, double *y)
{
    ptrdiff_t stride = 2 * pixels.columns + 3, e = 0;
    for (ptrdiff_t p = 0; p < pixels.rows * pixels.columns; p++) {
        ptrdiff_t first = (1 + 2 * (p / pixels.columns)) * stride + 1 + 2 * (p % pixels.columns);
        starts[p] = e;
        for (int half = 0; pixels.wanted[p] && half < 2; half++, e++) {
            half_pixel(u, stride, first, half, x + 6 * e);
            half_pixel(v, stride, first, half, y + 6 * e);
        }
    }
    starts[pixels.rows * pixels.columns] = e;
}

/* Write the third derivatives at the pixel with centre node f, and its distance from the cubic. */
static inline void third_derivatives(const double *f, ptrdiff_t stride, double *cubic)
{
    const double *up = f + stride, *down = f - stride;
    double right = f[2] - 3.0 * f[1] + 3.0 * f[0] - f[-1];
    double left = f[1] - 3.0 * f[0] + 3.0 * f[-1] - f[-2];
    double above = up[stride] - 3.0 * up[0] + 3.0 * f[0] - down[0];
    double below = up[0] - 3.0 * f[0] + 3.0 * down[0] - down[-stride];
    /* second differences along one axis, in the rows or columns on either side: over two steps */
    double across = up[1] - 2.0 * up[0] + up[-1];
    across -= down[1] - 2.0 * down[0] + down[-1];
    double along = up[1] - 2.0 * f[1] + down[1];
    along -= up[-1] - 2.0 * f[-1] + down[-1];
    /* eight steps of half a pixel cubed make one pixel cubed */
    cubic[0] = 4.0 * (right + left);
    cubic[1] = 4.0 * across;
    cubic[2] = 4.0 * along;
    cubic[3] = 4.0 * (above + below);
    cubic[4] = 4.0 * CUBIC * (fabs(right - left) + fabs(above - below));
}

static void find_rough(const double *ALONE u, const double *ALONE v, Source source, double tol,
                       double *ALONE cubic_x, double *ALONE cubic_y, ptrdiff_t rows, ptrdiff_t columns,
                       char *ALONE rough)
{
    static const double halves[2][6] = {{0.0, 0.0, 1.0, 0.0, 1.0, 1.0}, {0.0, 0.0, 0.0, 1.0, 1.0, 1.0}};
    ptrdiff_t stride = 2 * columns + 3;
    double x[6], y[6];
    for (ptrdiff_t p = 0; p < rows * columns; p++) {
        ptrdiff_t first = (1 + 2 * (p / columns)) * stride + 1 + 2 * (p % columns);
        double *third_x = cubic_x + 5 * p, *third_y = cubic_y + 5 * p;
        third_derivatives(u + first + stride + 1, stride, third_x);
        third_derivatives(v + first + stride + 1, stride, third_y);
        double error = 0.0;
        for (int half = 0; half < 2; half++) {
            half_pixel(u, stride, first, half, x);
            half_pixel(v, stride, first, half, y);
            error += judge_element(halves[half], x, y, 0.5, third_x, third_y, source, NULL);
        }
        rough[p] = error > tol;
    }
}

PyDoc_STRVAR(from_corners_doc, "from_corners(u, v, k, wanted, starts, x, y)\n--\n\n"
"Write the elements of the wanted pixels, each k x k squares cut in two, with straight edges.\n\n"
"u, v are the mapped corners of the squares, (k m + 1, k n + 1) for `wanted` of shape (m, n); `starts` (m n\n"
"+ 1) and x, y (elements, 6) are filled. All elements of a pixel have the same weight.");

static PyObject *from_corners(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (down, across)", "d v (down, across)", "n k", "b wanted (m, n)", "L starts (*)",
        "D x (elements, 6)", "D y (elements, 6)",
    };
    Argument a[7];
    if (!take(objects, count, rules, a, 7))
        return NULL;
    Pixels pixels = {a[3].shape[0], a[3].shape[1], a[3].data};
    Py_BEGIN_ALLOW_THREADS
    cut_squares(a[0].data, a[1].data, a[2].integer, pixels, a[4].data, a[5].data, a[6].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 7);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(from_half_steps_doc, "from_half_steps(u, v, wanted, starts, x, y)\n--\n\n"
"Write two elements for each wanted pixel, from the map at steps of half a pixel.\n\n"
"u, v have shape (2 m + 3, 2 n + 3), half a pixel more than the m x n pixels on each side.");

static PyObject *from_half_steps(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (down, across)", "d v (down, across)", "b wanted (m, n)", "L starts (*)", "D x (elements, 6)",
        "D y (elements, 6)",
    };
    Argument a[6];
    if (!take(objects, count, rules, a, 6))
        return NULL;
    Pixels pixels = {a[2].shape[0], a[2].shape[1], a[2].data};
    Py_BEGIN_ALLOW_THREADS
    cut_pixels(a[0].data, a[1].data, pixels, a[3].data, a[4].data, a[5].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 6);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(screen_doc, "screen(u, v, rows, columns, order, tol, cubic_x, cubic_y, rough)\n--\n\n"
"Find the pixels for which two curved elements are not enough.\n\n"
"u, v as in `from_half_steps`; rough (m, n) and cubic_x, cubic_y (m n, 5) are filled. rows and columns are\n"
"those of the source grid, or of the pieces of a source of B-splines of an order.");

static PyObject *screen(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (down, across)", "d v (down, across)", "n rows", "n columns", "n order", "r tol",
        "D cubic_x (pixels, 5)", "D cubic_y (pixels, 5)", "B rough (m, n)",
    };
    Argument a[9];
    if (!take(objects, count, rules, a, 9))
        return NULL;
    Source source = {a[2].integer, a[3].integer, (int)a[4].integer};
    Py_BEGIN_ALLOW_THREADS
    find_rough(a[0].data, a[1].data, source, a[5].real, a[6].data, a[7].data, a[8].shape[0], a[8].shape[1],
               a[8].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 9);
    Py_RETURN_NONE;
}

KERNEL_MODULE(elements, "Image pixels cut into triangles that the lens maps.",
              KERNEL(from_corners), KERNEL(from_half_steps), KERNEL(screen))
