/* Elements halved until the light that each pixel may send into a wrong cell is little, for every cell.
 *
 * Elements are as of `lenssuper.operators.overlap.elements`, and `pixel` is the index of the image pixel that
 * each is a part of. The errors of elements are added up in a table of cells, by a hash of pixel and cell,
 * and those are halved that have the largest part in a sum above `tol`.
 */

#include "../../_utils/arguments.h"
#include "accuracy.h"

/* The table of cells: the sum of errors and their number, for each slot. The number of slots is a power of
 * two. */
typedef struct {
    double *sums;
    uint64_t slots;
} Table;

/* Elements where they are mapped to, and the image pixels that they are parts of. */
typedef struct {
    const int64_t *pixel;
    const double *x, *y;
} Mapped;

/* Return the slot of the cell in which node k of element e is. */
static inline uint64_t slot_of(Mapped elements, int64_t e, int k, Source source, Table table)
{
    int64_t c = (int64_t)within(elements.x[6 * e + k], 0.0, source.columns - 1.0);
    int64_t r = (int64_t)within(elements.y[6 * e + k], 0.0, source.rows - 1.0);
    uint64_t key = (uint64_t)elements.pixel[e] * 73856093;
    key ^= (uint64_t)r * 19349663 ^ (uint64_t)c * 83492791;
    return ((key * 40503) >> 8) & (table.slots - 1);
}

/* Add the error of element e to the cells its corners and middles are in (or take it off: sign -1). Where two
 * fall on one slot, their errors add up. */
static inline void enter(Mapped elements, int64_t e, double error, Source source, Table table, double sign)
{
    uint64_t seen_last = table.slots, seen_before = table.slots;
    for (int k = 0; k < 6; k++) {
        uint64_t slot = slot_of(elements, e, k, source, table);
        if (slot != seen_last && slot != seen_before) {
            table.sums[2 * slot] += sign * error;
            table.sums[2 * slot + 1] += sign;
            seen_before = seen_last;
            seen_last = slot;
        }
    }
}

static void judge_all(const int64_t *which, ptrdiff_t count, Mapped elements, const double *plane,
                      const double *weights, const double *cubic_x, const double *cubic_y, Source source,
                      double *errors, int64_t *edges, Table table)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t e = which[i];
        errors[e] = judge_element(plane + 6 * e, elements.x + 6 * e, elements.y + 6 * e, weights[e],
                                  cubic_x + 5 * e, cubic_y + 5 * e, source, edges + e);
        if (errors[e] > 0.0)
            enter(elements, e, errors[e], source, table, 1.0);
    }
}

/* Return whether element e is to be halved (2), to be looked at again (1), or accurate enough (0). */
static inline int verdict(Mapped elements, int64_t e, double error, Source source, Table table, double tol)
{
    int state = 0;
    for (int k = 0; error > 0.0 && k < 6; k++) {
        const double *sum = table.sums + 2 * slot_of(elements, e, k, source, table);
        if (sum[0] > tol) {
            if (error * sum[1] > 0.5 * tol)
                return 2;
            state = 1;
        }
    }
    return state;
}

static void halve_in_plane(const int64_t *chosen, ptrdiff_t count, ptrdiff_t n, const int64_t *edges,
                           int64_t *pixel, double *plane, double *weights, char *torn, double *points)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t e = chosen[i], t = n + i;
        int64_t a = edges[e], b = (a + 1) % 3, c = (a + 2) % 3;
        double *whole = plane + 6 * e, *half = plane + 6 * t, *middles = points + 6 * i;
        for (int d = 0; d < 2; d++) {
            double pa = whole[2 * a + d], pb = whole[2 * b + d], pc = whole[2 * c + d];
            double middle = 0.5 * (pa + pb);
            whole[d] = pa, whole[2 + d] = middle, whole[4 + d] = pc;
            half[d] = middle, half[2 + d] = pb, half[4 + d] = pc;
            middles[d] = 0.5 * (pa + middle);
            middles[2 + d] = 0.5 * (pb + middle);
            middles[4 + d] = 0.5 * (pc + middle);
        }
        pixel[t] = pixel[e];
        weights[e] = weights[t] = 0.5 * weights[e];
        char ta = torn[3 * e + a], tb = torn[3 * e + b], tc = torn[3 * e + c];
        torn[3 * e] = ta, torn[3 * e + 1] = 0, torn[3 * e + 2] = tc;
        torn[3 * t] = 0, torn[3 * t + 1] = tb, torn[3 * t + 2] = tc;
    }
}

static ptrdiff_t find_torn(const int64_t *which, ptrdiff_t count, const double *plane, const char *torn,
                           double share, double *points, int64_t *found, int64_t *corners)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t e = which[i];
        const double *corner = plane + 6 * e;
        for (int k = 0; k < 3; k++) {
            if (!torn[3 * e + k])
                continue;
            for (int d = 0; d < 2; d++) {
                double middle = (corner[d] + corner[2 + d] + corner[4 + d]) / 3.0;
                points[2 * n + d] = corner[2 * k + d] + share * (middle - corner[2 * k + d]);
            }
            found[n] = e, corners[n] = k;
            n++;
        }
    }
    return n;
}

static void halve_in_source(const int64_t *chosen, ptrdiff_t count, ptrdiff_t n, const int64_t *edges,
                            const double *mapped, const double *plane, double *v, double *cubics)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t e = chosen[i], t = n + i;
        int64_t a = edges[e], b = (a + 1) % 3, c = (a + 2) % 3;
        double *whole = v + 6 * e, *half = v + 6 * t, *cubic = cubics + 5 * e;
        double va = whole[a], vb = whole[b], vc = whole[c];
        double ab = whole[3 + a], bc = whole[3 + b], ca = whole[3 + c];
        double quarter = mapped[3 * i], three = mapped[3 * i + 1], inner = mapped[3 * i + 2];
        double ends = -0.125 * (va + vb);
        double first = quarter - (0.5 * va + ends + 0.75 * ab);
        double last = three - (0.5 * vb + ends + 0.75 * ab);
        double p = 2.0 * (plane[6 * e + 2] - plane[6 * e]), q = 2.0 * (plane[6 * e + 3] - plane[6 * e + 1]);
        double square = p * p + q * q;
        double wrong = (64.0 * (first - last) - third_along(cubic, p, q)) / (square * (square * square));
        double corrected[5] = {
            cubic[0] + wrong * p * p * p, cubic[1] + wrong * p * p * q, cubic[2] + wrong * p * q * q,
            cubic[3] + wrong * q * q * q, higher(0.25 * cubic[4], 0.25 * fabs(first + last)),
        };
        for (int k = 0; k < 5; k++)
            cubic[k] = cubics[5 * t + k] = corrected[k];
        whole[0] = va, whole[1] = ab, whole[2] = vc, whole[3] = quarter, whole[4] = inner, whole[5] = ca;
        half[0] = ab, half[1] = vb, half[2] = vc, half[3] = three, half[4] = bc, half[5] = inner;
    }
}

PyDoc_STRVAR(judge_doc,
"judge(which, pixel, plane, x, y, weights, cubic_x, cubic_y, rows, columns, order, errors, edges, table)\n"
"--\n\n"
"Find error and worst edge of some elements, and enter the errors in the table of cells.\n\n"
"rows and columns are those of the source grid, or of the pieces of a source of B-splines of an order.");

static PyObject *judge(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l which (*)", "l pixel (n)", "d plane (n, 3, 2)", "d x (n, 6)", "d y (n, 6)", "d weights (n)",
        "d cubic_x (n, 5)", "d cubic_y (n, 5)", "n rows", "n columns", "n order", "D errors (n)",
        "L edges (n)", "D table (slots, 2)",
    };
    Argument a[14];
    if (!take(objects, count, rules, a, 14))
        return NULL;
    Mapped elements = {a[1].data, a[3].data, a[4].data};
    Source source = {a[8].integer, a[9].integer, (int)a[10].integer};
    Table table = {a[13].data, (uint64_t)a[13].shape[0]};
    Py_BEGIN_ALLOW_THREADS
    judge_all(a[0].data, a[0].shape[0], elements, a[2].data, a[5].data, a[6].data, a[7].data, source,
              a[11].data, a[12].data, table);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 14);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(choose_doc,
"choose(looked_at, pixel, x, y, errors, rows, columns, table, tol, chosen, left)\n--\n\n"
"Sort elements: `chosen` to be halved, the worst in cells that are not accurate enough; `left` to look at\n"
"again.\n\n"
"Elements whose cells are all accurate enough are in neither. Returns the numbers of the two.");

static PyObject *choose(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l looked_at (most)", "l pixel (n)", "d x (n, 6)", "d y (n, 6)", "d errors (n)", "n rows",
        "n columns", "d table (slots, 2)", "r tol", "L chosen (most)", "L left (most)",
    };
    Argument a[11];
    if (!take(objects, count, rules, a, 11))
        return NULL;
    const int64_t *looked_at = a[0].data;
    const double *errors = a[4].data;
    Mapped elements = {a[1].data, a[2].data, a[3].data};
    Source source = {a[5].integer, a[6].integer, 0};
    Table table = {a[7].data, (uint64_t)a[7].shape[0]};
    int64_t *chosen = a[9].data, *left = a[10].data;
    Py_ssize_t n_chosen = 0, n_left = 0;
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < a[0].shape[0]; i++) {
        int64_t e = looked_at[i];
        int state = verdict(elements, e, errors[e], source, table, a[8].real);
        if (state == 2)
            chosen[n_chosen++] = e;
        else if (state == 1)
            left[n_left++] = e;
    }
    Py_END_ALLOW_THREADS
    give_back(rules, a, 11);
    return Py_BuildValue("nn", n_chosen, n_left);
}

PyDoc_STRVAR(forget_doc, "forget(chosen, pixel, x, y, errors, rows, columns, table)\n--\n\n"
"Take the errors of the chosen elements off the table of cells.");

static PyObject *forget(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l chosen (*)", "l pixel (n)", "d x (n, 6)", "d y (n, 6)", "d errors (n)", "n rows", "n columns",
        "D table (slots, 2)",
    };
    Argument a[8];
    if (!take(objects, count, rules, a, 8))
        return NULL;
    const int64_t *chosen = a[0].data;
    const double *errors = a[4].data;
    Mapped elements = {a[1].data, a[2].data, a[3].data};
    Source source = {a[5].integer, a[6].integer, 0};
    Table table = {a[7].data, (uint64_t)a[7].shape[0]};
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < a[0].shape[0]; i++)
        enter(elements, chosen[i], errors[chosen[i]], source, table, -1.0);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 8);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(halve_plane_doc, "halve_plane(chosen, n, edges, pixel, plane, weights, torn, points)\n--\n\n"
"Cut the chosen elements in two in the image plane: one half replaces the whole, the other goes to n + i.\n\n"
"The first rows of `points`, 3 for each of the chosen, become the new middles of edges.");

static PyObject *halve_plane(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l chosen (*)", "n first", "l edges (n)", "L pixel (n)", "D plane (n, 3, 2)", "D weights (n)",
        "B torn (n, 3)", "D points (*, 2)",
    };
    Argument a[8];
    if (!take(objects, count, rules, a, 8))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    halve_in_plane(a[0].data, a[0].shape[0], a[1].integer, a[2].data, a[3].data, a[4].data, a[5].data,
                   a[6].data, a[7].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 8);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(torn_corners_doc, "torn_corners(which, plane, torn, share, points, found, corners)\n--\n\n"
"Find the corners that are lens centres: write points near them inside their elements, and their place.\n\n"
"A point is away from the centre by a `share` of the distance to the middle of the element. Returns how\n"
"many there are.");

static PyObject *torn_corners(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l which (*)", "d plane (n, 3, 2)", "b torn (n, 3)", "r share", "D points (room, 2)",
        "L found (room)", "L corners (room)",
    };
    Argument a[7];
    if (!take(objects, count, rules, a, 7))
        return NULL;
    ptrdiff_t n;
    Py_BEGIN_ALLOW_THREADS
    n = find_torn(a[0].data, a[0].shape[0], a[1].data, a[2].data, a[3].real, a[4].data, a[5].data, a[6].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 7);
    return PyLong_FromSsize_t(n);
}

PyDoc_STRVAR(halve_map_doc, "halve_map(chosen, n, edges, mapped, plane, v, cubic)\n--\n\n"
"Halve elements in one mapped coordinate; the new points measure how far the quadratic was off.\n\n"
"The third derivatives are corrected along the edge that was halved, and along it alone.");

static PyObject *halve_map(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "l chosen (*)", "n first", "l edges (n)", "d mapped (*)", "d plane (n, 3, 2)", "D v (n, 6)",
        "D cubic (n, 5)",
    };
    Argument a[7];
    if (!take(objects, count, rules, a, 7))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    halve_in_source(a[0].data, a[0].shape[0], a[1].integer, a[2].data, a[3].data, a[4].data, a[5].data,
                    a[6].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 7);
    Py_RETURN_NONE;
}

KERNEL_MODULE(halving, "Elements halved until every cell is accurate.",
              KERNEL(judge), KERNEL(choose), KERNEL(forget), KERNEL(halve_plane), KERNEL(torn_corners),
              KERNEL(halve_map))
