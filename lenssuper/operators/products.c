/* Products of a sparse matrix, in compressed rows, with several images at once. */

#include "../_utils/arguments.h"

/* Images that are multiplied at once: two vectors of eight numbers, which stay in registers. */
#define TOGETHER 16

#if defined(__GNUC__)
typedef float Eight __attribute__((vector_size(32)));

INLINED void add_scaled(Eight *sums, float factor, const float *values)
{
    Eight eight;
    memcpy(&eight, values, sizeof eight);
    *sums += factor * eight;
}
#else
typedef struct {
    float each[8];
} Eight;

INLINED void add_scaled(Eight *sums, float factor, const float *values)
{
    for (int i = 0; i < 8; i++)
        sums->each[i] += factor * values[i];
}
#endif

/* The images of a group are brought side by side, so that an entry of the matrix meets all of them at once. */
FOR_WIDER_VECTORS
static void write_products(const int32_t *starts, const int32_t *columns, const float *entries, ptrdiff_t rows,
                           const float *ALONE images, ptrdiff_t count, ptrdiff_t pixels, float *ALONE side,
                           float *ALONE products)
{
    for (ptrdiff_t first = 0; first < count; first += TOGETHER) {
        ptrdiff_t n = fewer(TOGETHER, count - first);
        for (ptrdiff_t p = 0; p < pixels; p++)
            for (ptrdiff_t i = 0; i < n; i++)
                side[p * TOGETHER + i] = images[(first + i) * pixels + p];
        for (ptrdiff_t row = 0; row < rows; row++) {
            Eight one = {0}, two = {0};
            float found[TOGETHER];
            for (ptrdiff_t k = starts[row]; k < starts[row + 1]; k++) {
                const float *values = side + (ptrdiff_t)columns[k] * TOGETHER;
                add_scaled(&one, entries[k], values);
                add_scaled(&two, entries[k], values + 8);
            }
            memcpy(found, &one, sizeof one);
            memcpy(found + 8, &two, sizeof two);
            for (ptrdiff_t i = 0; i < n; i++)
                products[(first + i) * rows + row] = found[i];
        }
    }
}

PyDoc_STRVAR(products_doc, "products(starts, columns, entries, images, side, products)\n--\n\n"
"Write the products (n, rows) of a matrix in compressed rows with images (n, pixels), both float32.\n\n"
"The entries of row r are those from starts[r] to starts[r + 1]. side (pixels, 16) is room to work in.");

static PyObject *products(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "i starts (rows+1)", "i columns (entries)", "f entries (entries)", "f images (n, pixels)",
        "F side (pixels, 16)", "F products (n, rows)",
    };
    Argument a[6];
    if (!take(objects, count, rules, a, 6))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    write_products(a[0].data, a[1].data, a[2].data, a[5].shape[1], a[3].data, a[3].shape[0], a[3].shape[1],
                    a[4].data, a[5].data);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 6);
    Py_RETURN_NONE;
}

KERNEL_MODULE(products, "Products of a sparse matrix with images.", KERNEL(products))
