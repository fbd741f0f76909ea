/* Cubic B-splines where rays land: weights and slopes (de Boor 1978, A Practical Guide to Splines, ch. X). */

#include "../_utils/arguments.h"


/* Side of the window, in source pixels, in which the weights of an image pixel's rays are added up; rays that
 * land further apart, as around the centre of a singular lens, are stored one by one. */
#define WINDOW 16

/* Values of the four splines that overlap between two nodes (de Boor 1978, ch. X). */
static inline void cubic_values(double t, double *values)
{
    double s = 1.0 - t;
    values[0] = s * s * s / 6.0;
    values[1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0;
    values[2] = (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0;
    values[3] = t * t * t / 6.0;
}

/* Their derivatives. */
static inline void cubic_slopes(double t, double *slopes)
{
    double s = 1.0 - t;
    slopes[0] = -0.5 * s * s;
    slopes[1] = 0.5 * t * (3.0 * t - 4.0);
    slopes[2] = -0.5 * s * (3.0 * s - 4.0);
    slopes[3] = 0.5 * t * t;
}

static inline int reaches(double u, double v, ptrdiff_t ny, ptrdiff_t nx)
{
    return -2.0 < u && u < nx + 1.0 && -2.0 < v && v < ny + 1.0;
}

static void write_weights(const double *columns, const double *rows, ptrdiff_t pixels, ptrdiff_t rays,
                                 ptrdiff_t ny, ptrdiff_t nx, int64_t *ends, int32_t *indices, double *data)
{
    double window[WINDOW * WINDOW] = {0.0};
    double across[4], along[4];
    ptrdiff_t n = 0;
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const double *u = columns + p * rays, *v = rows + p * rays;
        ptrdiff_t left = nx + 2, right = -2, bottom = ny + 2, top = -2;
        for (ptrdiff_t k = 0; k < rays; k++) {
            if (reaches(u[k], v[k], ny, nx)) {
                ptrdiff_t i = (ptrdiff_t)floor(u[k]), j = (ptrdiff_t)floor(v[k]);
                left = fewer(left, i), right = more(right, i);
                bottom = fewer(bottom, j), top = more(top, j);
            }
        }
        int together = right - left + 4 <= WINDOW && top - bottom + 4 <= WINDOW;
        for (ptrdiff_t k = 0; k < rays; k++) {
            if (!reaches(u[k], v[k], ny, nx))
                continue;
            ptrdiff_t i = (ptrdiff_t)floor(u[k]), j = (ptrdiff_t)floor(v[k]);
            cubic_values(u[k] - i, across);
            cubic_values(v[k] - j, along);
            for (int a = 0; a < 4; a++) {
                for (int b = 0; b < 4; b++) {
                    double weight = along[a] * across[b] / rays;
                    ptrdiff_t y = j + a - 1, x = i + b - 1;
                    if (together) {
                        window[(j - bottom + a) * WINDOW + i - left + b] += weight;
                    } else if (0 <= y && y < ny && 0 <= x && x < nx) {
                        indices[n] = (int32_t)(y * nx + x);
                        data[n++] = weight;
                    }
                }
            }
        }
        for (ptrdiff_t a = 0; together && a < top - bottom + 4; a++) {
            for (ptrdiff_t b = 0; b < right - left + 4; b++) {
                ptrdiff_t y = bottom + a - 1, x = left + b - 1;
                double *weight = window + a * WINDOW + b;
                if (*weight != 0.0 && 0 <= y && y < ny && 0 <= x && x < nx) {
                    indices[n] = (int32_t)(y * nx + x);
                    data[n++] = *weight;
                }
                *weight = 0.0;
            }
        }
        ends[p + 1] = n;
    }
}

/* In eight sums, as vectors add up. */
static inline float weighted_sum(const float *weights, const float *values, ptrdiff_t count)
{
    float sums[8] = {0.0f}, sum = 0.0f;
    ptrdiff_t s = 0;
    for (; s + 8 <= count; s += 8)
        for (int t = 0; t < 8; t++)
            sums[t] += weights[s + t] * values[s + t];
    for (; s < count; s++)
        sum += weights[s] * values[s];
    for (int t = 0; t < 8; t++)
        sum += sums[t];
    return sum;
}

static void write_slopes(const double *columns, const double *rows, ptrdiff_t pixels, ptrdiff_t rays,
                         ptrdiff_t ny, ptrdiff_t nx, const float *ALONE sources, const float *ALONE weights,
                         ptrdiff_t count, float *ALONE along_x, float *ALONE along_y)
{
    double across[4], along[4], across_slope[4], along_slope[4];
    for (ptrdiff_t ray = 0; ray < pixels * rays; ray++) {
        if (!reaches(columns[ray], rows[ray], ny, nx))
            continue;
        const float *weight = weights + ray / rays * count;
        ptrdiff_t i = (ptrdiff_t)floor(columns[ray]), j = (ptrdiff_t)floor(rows[ray]);
        cubic_values(columns[ray] - i, across), cubic_slopes(columns[ray] - i, across_slope);
        cubic_values(rows[ray] - j, along), cubic_slopes(rows[ray] - j, along_slope);
        for (int a = 0; a < 4; a++) {
            for (int b = 0; b < 4; b++) {
                ptrdiff_t y = j + a - 1, x = i + b - 1;
                if (!(0 <= y && y < ny && 0 <= x && x < nx))
                    continue;
                const float *source = sources + (y * nx + x) * count;
                float sum = weighted_sum(weight, source, count);
                along_x[ray] += (float)(along[a] * across_slope[b]) * sum;
                along_y[ray] += (float)(along_slope[a] * across[b]) * sum;
            }
        }
    }
}

PyDoc_STRVAR(weights_doc, "weights(columns, rows, ny, nx, ends, indices, data)\n--\n\n"
"Write the matrix from coefficients to the means over the rays of each image pixel.\n\n"
"Rays land at columns and rows (pixels, rays) of a lattice of ny x nx splines. ends[p + 1] is the number of\n"
"entries up to pixel p; indices and data, with room for 16 of each ray, are their splines and weights.");

static PyObject *weights(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d columns (pixels, rays)", "d rows (pixels, rays)", "n ny", "n nx",
        "L ends (pixels+1)", "I indices (room)", "D data (room)",
    };
    Argument a[7];
    if (!take(objects, count, rules, a, 7))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    write_weights(a[0].data, a[1].data, a[0].shape[0], a[0].shape[1], a[2].integer, a[3].integer, a[4].data,
                  a[5].data, a[6].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 7);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(add_slopes_doc, "add_slopes(columns, rows, ny, nx, sources, weights, along_x, along_y)\n--\n\n"
"Add the slopes at rays (pixels, rays) of sources (splines, n), each times its weight in the pixel\n"
"(pixels, n), to along_x and along_y.");

static PyObject *add_slopes(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d columns (pixels, rays)", "d rows (pixels, rays)", "n ny", "n nx", "f sources (*, n)",
        "f weights (pixels, n)", "F along_x (pixels, rays)", "F along_y (pixels, rays)",
    };
    Argument a[8];
    if (!take(objects, count, rules, a, 8))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    write_slopes(a[0].data, a[1].data, a[0].shape[0], a[0].shape[1], a[2].integer, a[3].integer, a[4].data,
                 a[5].data, a[4].shape[1], a[6].data, a[7].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 8);
    Py_RETURN_NONE;
}

KERNEL_MODULE(cubicsplines, "Cubic B-splines where rays land.", KERNEL(weights), KERNEL(add_slopes))
