/* Overlap of small mapped pixels with the grid, in closed form and without branches.
 *
 * Most pixels of a lens fall on three by three cells or fewer. Then the shares of the nine cells follow from
 * the areas left of two vertical lines, below two horizontal lines, and in the quarter planes between them,
 * each a sum over the edges (Green's theorem). Nothing branches on the data, so the compiler can vectorise
 * over pixels.
 *
 * Coordinates are in cells of the source grid, as in `lenssuper.operators.overlap.clip`.
 */

#include "../../_utils/arguments.h"

/* Below this mapped area (in cells) the differences of the areas would be more than rounding noise. */
#define SMALL 1e-2

/* Twice an edge's part of the areas x < 0, x < 1, y < 0, y < 1 and of their four intersections. */
typedef struct {
    double west0, west1, south0, south1, both00, both01, both10, both11;
} Areas;

/* The lines between the three cells are at 0 and 1. These numbers are arguments, zero and one, as GCC 12 uses
 * the processor's minimum for b < a ? b : a only where it does not know a. */

/* Return twice the mean of min(x, 0) for x between a and b. */
INLINED double negative(double a, double b, double zero, double one)
{
    double p = lower(zero, a), q = lower(zero, b);
    double part = (p - q) / (a - b); /* at most 1; not a number where a is b */
    return (p + q) * lower(one, part);
}

INLINED Areas areas(double x0, double y0, double x1, double y1, double zero, double one)
{
    Areas part;
    double dy = y1 - y0, slope = (x1 - x0) / dy;
    slope = dy != 0.0 ? slope : 0.0;
    part.west0 = dy * negative(x0, x1, zero, one);
    part.west1 = dy * negative(x0 - 1.0, x1 - 1.0, zero, one);
    double ya = lower(zero, y0), yb = lower(zero, y1);
    double xa = x0 + (ya - y0) * slope, xb = x0 + (yb - y0) * slope;
    part.south0 = (yb - ya) * (xa + xb);
    part.both00 = (yb - ya) * negative(xa, xb, zero, one);
    part.both01 = (yb - ya) * negative(xa - 1.0, xb - 1.0, zero, one);
    ya = lower(one, y0), yb = lower(one, y1);
    xa = x0 + (ya - y0) * slope, xb = x0 + (yb - y0) * slope;
    part.south1 = (yb - ya) * (xa + xb);
    part.both10 = (yb - ya) * negative(xa, xb, zero, one);
    part.both11 = (yb - ya) * negative(xa - 1.0, xb - 1.0, zero, one);
    return part;
}

/* The sum over the two triangles of a pixel, of scales f and g, that have edge c in common. */
#define JOIN(name) (f * (a.name + b.name + c.name) + g * (d.name + e.name - c.name))

/* Write the shares of one row of n pixels, from the corners below (ua, va) and above (ub, vb). */
FOR_WIDER_VECTORS
static void write_row(const double *ALONE ua, const double *ALONE ub, const double *ALONE va,
                      const double *ALONE vb, ptrdiff_t n, double rows, double columns, double zero,
                      double one, double *ALONE shares, double *ALONE cell)
{
    IN_ANY_ORDER
    for (ptrdiff_t j = 0; j < n; j++) {
        double ax = ua[j], bx = ua[j + 1], cx = ub[j + 1], dx = ub[j];
        double ay = va[j], by = va[j + 1], cy = vb[j + 1], dy = vb[j];
        double left = lower(lower(dx, cx), lower(bx, ax));
        double right = higher(higher(dx, cx), higher(bx, ax));
        double bottom = lower(lower(dy, cy), lower(by, ay));
        double top = higher(higher(dy, cy), higher(by, ay));
        double column = floor(left), row = floor(bottom);
        /* from here on the lines between the three cells are at 0 and 1 */
        ax = ax - column - 1.0, bx = bx - column - 1.0, cx = cx - column - 1.0, dx = dx - column - 1.0;
        ay = ay - row - 1.0, by = by - row - 1.0, cy = cy - row - 1.0, dy = dy - row - 1.0;
        double first = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
        double second = (cx - ax) * (dy - ay) - (cy - ay) * (dx - ax);
        double f = 0.5 / first, g = 0.5 / second;
        Areas a = areas(ax, ay, bx, by, zero, one), b = areas(bx, by, cx, cy, zero, one);
        Areas c = areas(cx, cy, ax, ay, zero, one), d = areas(cx, cy, dx, dy, zero, one);
        Areas e = areas(dx, dy, ax, ay, zero, one);
        double west0 = JOIN(west0), west1 = JOIN(west1), south0 = JOIN(south0), south1 = JOIN(south1);
        double q00 = JOIN(both00), q01 = JOIN(both01), q10 = JOIN(both10), q11 = JOIN(both11);
        /* rows and columns that are not reached may lie past the end of the grid */
        int wide1 = right > column + 1.0, wide2 = right > column + 2.0;
        int tall1 = top > row + 1.0, tall2 = top > row + 2.0;
        shares[j] = q00;
        shares[n + j] = wide1 ? q01 - q00 : 0.0;
        shares[2 * n + j] = wide2 ? south0 - q01 : 0.0;
        shares[3 * n + j] = tall1 ? q10 - q00 : 0.0;
        shares[4 * n + j] = wide1 & tall1 ? q11 - q10 - q01 + q00 : 0.0;
        shares[5 * n + j] = wide2 & tall1 ? south1 - south0 - q11 + q01 : 0.0;
        shares[6 * n + j] = tall2 ? west0 - q10 : 0.0;
        shares[7 * n + j] = wide1 & tall2 ? west1 - west0 - q11 + q10 : 0.0;
        shares[8 * n + j] = wide2 & tall2 ? 1.0 - west1 - south1 + q11 : 0.0;
        int inside = (left >= 0.0) & (bottom >= 0.0) & (right < columns) & (top < rows);
        int fits = (right < column + 3.0) & (top < row + 3.0);
        int thick = (fabs(first) > 2.0 * SMALL) & (fabs(second) > 2.0 * SMALL);
        cell[j] = inside & fits & thick ? row * columns + column : -1.0;
    }
}

PyDoc_STRVAR(quad_shares_doc, "quad_shares(u, v, rows, columns, shares, cell)\n--\n\n"
"Write the shares of 3 x 3 cells in pixels that are mapped straight-edged, each cut into two triangles.\n\n"
"u and v (m + 1, n + 1) are the mapped corners of m rows of n pixels. ``shares`` (m, 9, n) is filled with\n"
"those of the cells (r, c), (r, c + 1), ..., (r + 2, c + 2), ``cell`` (m, n) with the flat index of (r, c)\n"
"as floats: -1 where the pixel is not inside the grid or in no 3 x 3 cells, or has negligible area, and the\n"
"shares mean nothing.");

static PyObject *quad_shares(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d u (m+1, n+1)", "d v (m+1, n+1)", "n rows", "n columns", "D shares (m, 9, n)", "D cell (m, n)",
    };
    Argument a[6];
    if (!take(objects, count, rules, a, 6))
        return NULL;
    ptrdiff_t m = a[5].shape[0], n = a[5].shape[1];
    double rows = (double)a[2].integer, columns = (double)a[3].integer;
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < m; i++) {
        const double *u = (double *)a[0].data + i * (n + 1), *v = (double *)a[1].data + i * (n + 1);
        double *shares = (double *)a[4].data + i * 9 * n, *cell = (double *)a[5].data + i * n;
        write_row(u, u + n + 1, v, v + n + 1, n, rows, columns, 0.0, 1.0, shares, cell);
    }
    Py_END_ALLOW_THREADS
    give_back(rules, a, 6);
    Py_RETURN_NONE;
}

KERNEL_MODULE(quads, "Overlap of small mapped pixels, in closed form.", KERNEL(quad_shares))
