/* Exact areas of overlap between mapped image elements and the cells of a regular grid.
 *
 * Every coordinate is in cells of the source grid, cell (r, c) being the unit square c <= x < c + 1,
 * r <= y < r + 1. An element is a triangle that carries a weight w (its share of its image pixel); the
 * kernels add w * overlap / area to every cell it touches.
 *
 * The area under an edge is accumulated cell by cell as the edge is walked, and a running sum along the row
 * then gives the coverage of each cell, so no clipped polygon is ever formed. That running sum lives in a
 * small window of the grid around the pixel (clip.h).
 */

#include "../../_utils/arguments.h"
#include "clip.h"

/* Entries below this are rounding noise of the running sums. */
#define NOISE 1e-13

/* Entries of a matrix, row after row: columns and values; `count` of them are written, with room for more. */
typedef struct {
    int32_t *ALONE cells;
    double *ALONE values;
    ptrdiff_t count, room;
} Entries;

/* Append the entries of a window to others, in order, and clear it. Its first cell is number `first_cell` of
 * the grid.
 *
 * Negative entries (a border pushed past a corner) are dropped and the others rescaled, so that the sum stays
 * what it was: `total` where that is known (>= 0), else that of the entries. */
static void emit(const Window *window, ptrdiff_t first_cell, ptrdiff_t columns, double total,
                 Entries *entries)
{
    double *ALONE values = entries->values;
    int32_t *ALONE cells = entries->cells;
    ptrdiff_t n = entries->count;
    double kept = 0.0, dropped = 0.0;
    for (ptrdiff_t r = 0; r < window->height; r++) {
        double *row = window->cells + r * window->stride, run = 0.0;
        ptrdiff_t cell = first_cell + r * columns;
        for (ptrdiff_t c = 0; c < window->width; c++) {
            run += row[c];
            row[c] = 0.0;
            if (run > NOISE) {
                cells[n] = (int32_t)(cell + c);
                values[n] = run;
                kept += run;
                n++;
            } else {
                dropped += run;
            }
        }
        row[window->width] = row[window->width + 1] = 0.0;
    }
    memset(window->cells + window->height * window->stride, 0, window->stride * sizeof(double));
    if (total < 0.0)
        total = kept + dropped;
    if (kept > 0.0 && total != kept) {
        double factor = higher(total, 0.0) / kept;
        for (ptrdiff_t k = entries->count; k < n; k++)
            values[k] *= factor;
    }
    entries->count = n;
}

/* Append those of 3 x 3 shares, `step` apart, that are more than noise; there is room for all nine. */
static inline void append_shares(const double *shares, ptrdiff_t step, ptrdiff_t cell, ptrdiff_t columns,
                                 Entries *entries)
{
    ptrdiff_t n = entries->count;
    for (int k = 0; k < 9; k++) {
        double share = shares[k * step];
        entries->cells[n] = (int32_t)(cell + k / 3 * columns + k % 3);
        entries->values[n] = share;
        n += share > NOISE;
    }
    entries->count = n;
}

/* Mapped corners and middles of the edges x, y (elements, 6), and the share in its pixel of each element. */
typedef struct {
    const double *x, *y, *weights;
} Elements;

/* Append the entries of the pixel with the elements from `start` to `stop`; 0 where there is no room. */
static int append_elements(const Elements *elements, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t rows,
                           ptrdiff_t columns, double *light, Entries *entries)
{
    double x_lo = HUGE_VAL, y_lo = HUGE_VAL, x_hi = -HUGE_VAL, y_hi = -HUGE_VAL;
    for (ptrdiff_t e = start; e < stop; e++) {
        const double *x = elements->x + 6 * e, *y = elements->y + 6 * e;
        for (int k = 0; k < 3; k++) {
            x_lo = lower(x_lo, x[k]), x_hi = higher(x_hi, x[k]);
            y_lo = lower(y_lo, y[k]), y_hi = higher(y_hi, y[k]);
        }
    }
    int inside = x_lo >= 0.0 && y_lo >= 0.0 && x_hi <= columns && y_hi <= rows;
    ptrdiff_t c = (ptrdiff_t)within(x_lo, 0.0, (double)columns);
    ptrdiff_t r = (ptrdiff_t)within(y_lo, 0.0, (double)rows);
    ptrdiff_t width = fewer((ptrdiff_t)higher(lower(x_hi, (double)columns), -1.0) + 1, columns) - c;
    ptrdiff_t height = fewer((ptrdiff_t)higher(lower(y_hi, (double)rows), -1.0) + 1, rows) - r;
    if (width <= 0 || height <= 0)
        return 1;
    if (entries->count + width * height > entries->room)
        return 0;
    Window window = {.cells = light, .stride = width + 2, .width = width, .height = height};
    for (ptrdiff_t e = start; e < stop; e++)
        add_triangle(&window, elements->x + 6 * e, elements->y + 6 * e, c, r, elements->weights[e]);
    emit(&window, r * columns + c, columns, inside ? 1.0 : -1.0, entries);
    return 1;
}

PyDoc_STRVAR(fill_doc, "fill(shares, cell, starts, stops, x, y, weights, rows, columns, window, pixel, cells,"
" values, ends)\n--\n\n"
"Write the entries of image pixels one after the other, from `pixel` on, until the output is full.\n\n"
"Parameters\n"
"----------\n"
"shares, cell : ndarrays, shapes (m, 9, n) and (m, n)\n"
"    Where `cell` is not negative, the shares of the 3 x 3 cells from it on are known.\n"
"starts, stops : ndarray, shape (m * n,)\n"
"    Elsewhere, the elements of pixel p are those from starts[p] to stops[p].\n"
"x, y : ndarrays, shape (elements, 6)\n"
"    Mapped corners, then middles of the edges 01, 12, 20.\n"
"weights : ndarray, shape (elements,)\n"
"    Share of each element in its pixel.\n"
"rows, columns : int\n"
"    Shape of the source grid.\n"
"window : ndarray\n"
"    Zeros, at least (rows + 1) * (columns + 2); zeros again on return.\n"
"cells, values, ends : ndarrays, filled\n"
"    Flat source cell and value of each entry; ends[p + 1] is the number of entries up to pixel p.\n\n"
"Returns\n"
"-------\n"
"int\n"
"    The pixel at which to resume when there is more room; the number of pixels when all are done.");

static PyObject *fill(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d shares (m, 9, n)", "d cell (m, n)", "l starts (pixels)", "l stops (pixels)", "d x (elements, 6)",
        "d y (elements, 6)", "d weights (elements)", "n rows", "n columns", "D window (size)", "n pixel",
        "I cells (room)", "D values (room)", "L ends (pixels+1)",
    };
    Argument a[14];
    if (!take(objects, count, rules, a, 14))
        return NULL;
    const double *shares = a[0].data, *cell = a[1].data;
    const int64_t *starts = a[2].data, *stops = a[3].data;
    Elements elements = {.x = a[4].data, .y = a[5].data, .weights = a[6].data};
    ptrdiff_t rows = a[7].integer, columns = a[8].integer, pixel = a[10].integer;
    ptrdiff_t across = a[1].shape[1], pixels = a[1].shape[0] * across;
    int64_t *ends = a[13].data;
    if (pixels != a[2].shape[0] || pixel < 0 || a[9].shape[0] < (rows + 1) * (columns + 2)) {
        give_back(rules, a, 14);
        PyErr_SetString(PyExc_ValueError, "starts, window or pixel do not fit cell, rows and columns");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    Entries entries = {.cells = a[11].data, .values = a[12].data, .count = 0, .room = a[12].shape[0]};
    if (pixel < pixels)
        entries.count = (ptrdiff_t)ends[pixel];
    ptrdiff_t i = across ? pixel / across : 0, j = across ? pixel % across : 0;
    for (; pixel < pixels && entries.count + 9 <= entries.room; pixel++, j++) {
        if (j == across)
            i++, j = 0;
        if (cell[pixel] >= 0.0)
            append_shares(shares + i * 9 * across + j, across, (ptrdiff_t)cell[pixel], columns, &entries);
        else if (!append_elements(&elements, starts[pixel], stops[pixel], rows, columns, a[9].data, &entries))
            break;
        ends[pixel + 1] = entries.count;
    }
    Py_END_ALLOW_THREADS
    give_back(rules, a, 14);
    return PyLong_FromSsize_t(pixel);
}

PyDoc_STRVAR(add_edges_doc, "add_edges(window, rows, columns, x, y, scale)\n--\n\n"
"Add to each cell `scale` times the area to the right of edges, in every row they climb through.\n\n"
"`x` and `y` (2, edges) are where edges begin and end; around a region, a `scale` of -1 counter-clockwise\n"
"gives its area. `window`, at least (rows + 1) * (columns + 2), holds differences along the rows: their\n"
"running sum is the area.");

static PyObject *add_edges(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "D window (size)", "n rows", "n columns", "d x (2, edges)", "d y (2, edges)", "d scale (edges)",
    };
    Argument a[6];
    if (!take(objects, count, rules, a, 6))
        return NULL;
    const double *x = a[3].data, *y = a[4].data, *scale = a[5].data;
    ptrdiff_t rows = a[1].integer, columns = a[2].integer, edges = a[5].shape[0];
    if (a[0].shape[0] < (rows + 1) * (columns + 2)) {
        give_back(rules, a, 6);
        PyErr_SetString(PyExc_ValueError, "window must hold (rows + 1) * (columns + 2) numbers");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    Window window = {.cells = a[0].data, .stride = columns + 2, .width = columns, .height = rows};
    for (ptrdiff_t e = 0; e < edges; e++)
        walk_edge_clipped(&window, x[e], y[e], x[edges + e], y[edges + e], scale[e]);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 6);
    Py_RETURN_NONE;
}

KERNEL_MODULE(clip, "Exact areas of overlap of mapped elements with cells.",
              KERNEL(fill), KERNEL(add_edges))
