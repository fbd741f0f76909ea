/* Changes of an image by one field of deflection at many positions. */

#include "../_utils/arguments.h"

/* Rays along a side of a pixel where nobody asks for another number. */
#define USUAL_RAYS 2

/* What is the same for all positions. */
typedef struct {
    ptrdiff_t ny, nx, rays; /* numbers of image pixels, and of rays along a side of each */
    const float *slopes, *kernel;
} Field;

/* Subtract a row of rays from a row of image pixels, in each from left to right. */
INLINED void subtract_rays(const float *ALONE slopes_x, const float *ALONE slopes_y,
                           const float *ALONE kernel_x, const float *ALONE kernel_y, float share,
                           ptrdiff_t nx, ptrdiff_t rays, float *ALONE row)
{
    for (ptrdiff_t p = 0; p < nx; p++) {
        float total = row[p];
        for (ptrdiff_t i = rays * p; i < rays * (p + 1); i++)
            total -= share * (slopes_x[i] * kernel_x[i] + slopes_y[i] * kernel_y[i]);
        row[p] = total;
    }
}

/* Write the change by the kernel at one position; the first of its cells in the field is at left, bottom.
 *
 * The loop over pixels is vectorised where the compiler knows the number of rays. */
static void write_change(const Field *field, ptrdiff_t left, ptrdiff_t bottom, float *image)
{
    ptrdiff_t nx = field->nx, rays = field->rays, height = rays * field->ny, width = rays * nx;
    float share = (float)(1.0 / (double)(rays * rays));
    for (ptrdiff_t j = 0; j < height; j++) {
        float *row = image + j / rays * nx;
        const float *slopes_x = field->slopes + j * width, *slopes_y = slopes_x + height * width;
        const float *kernel_x = field->kernel + (bottom + j) * 2 * width + left;
        const float *kernel_y = kernel_x + 4 * height * width;
        if (rays == USUAL_RAYS)
            subtract_rays(slopes_x, slopes_y, kernel_x, kernel_y, share, nx, USUAL_RAYS, row);
        else
            subtract_rays(slopes_x, slopes_y, kernel_x, kernel_y, share, nx, rays, row);
    }
}

/* Whether the kernel covers the field at all positions. */
static int covers(const Field *field, const int64_t *corners, ptrdiff_t count)
{
    for (ptrdiff_t n = 0; n < count; n++) {
        int64_t column = corners[2 * n], row = corners[2 * n + 1];
        if (column < 0 || column > field->rays * field->nx || row < 0 || row > field->rays * field->ny)
            return 0;
    }
    return 1;
}

PyDoc_STRVAR(shifted_doc, "shifted(slopes, kernel, corners, rays, images)\n--\n\n"
"Fill images (n, ny, nx) with the change of brightness by a kernel at each of the corners.\n\n"
"slopes (2, rays ny, rays nx) are those of the brightness; the kernel (2, 2 rays ny, 2 rays nx) has the\n"
"deflections by offset from the corner, which is in its middle. corners (n, 2) are columns and rows. images\n"
"are zero before.");

static PyObject *shifted(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "f slopes (2, *, *)", "f kernel (2, *, *)", "l corners (n, 2)", "n rays", "F images (n, ny, nx)",
    };
    Argument a[5];
    if (!take(objects, count, rules, a, 5))
        return NULL;
    Field field = {a[4].shape[1], a[4].shape[2], a[3].integer, a[0].data, a[1].data};
    ptrdiff_t height = field.rays * field.ny, width = field.rays * field.nx, n = a[2].shape[0];
    const int64_t *corners = a[2].data;
    float *images = a[4].data;
    int fits = field.rays > 0 && a[0].shape[1] == height && a[0].shape[2] == width &&
               a[1].shape[1] == 2 * height && a[1].shape[2] == 2 * width && covers(&field, corners, n);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a kernel is twice as large as the slopes, and corners are inside");
    } else {
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t k = 0; k < n; k++)
            write_change(&field, width - corners[2 * k], height - corners[2 * k + 1],
                         images + k * field.ny * field.nx);
        Py_END_ALLOW_THREADS
    }
    give_back(rules, a, 5);
    if (!fits)
        return NULL;
    Py_RETURN_NONE;
}

KERNEL_MODULE(shifts, "Changes of an image by one field at many positions.", KERNEL(shifted))
