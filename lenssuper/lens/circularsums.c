/* Sums of cosines and sines of the multiples of many angles. */

#include "../_utils/arguments.h"

/* Angles whose sums are found at once: few enough for all to stay near the processor. */
#define BLOCK 64

/* From the last term to the first (Clenshaw 1955, Math. Comp. 9, 118). */
FOR_WIDER_VECTORS
static void write_sums(const double *coefficients, ptrdiff_t terms, const double *ALONE cosines,
                       const double *ALONE sines, ptrdiff_t angles, double *ALONE sums_x, double *ALONE sums_y)
{
    double twice[BLOCK], last[BLOCK], later[BLOCK];
    for (ptrdiff_t first = 0; first < angles; first += BLOCK) {
        ptrdiff_t n = fewer(BLOCK, angles - first);
        const double *cosine = cosines + first, *sine = sines + first;
        for (ptrdiff_t i = 0; i < n; i++)
            twice[i] = 2.0 * cosine[i], last[i] = 0.0, later[i] = 0.0;
        for (ptrdiff_t k = terms - 1; k > 0; k--) {
            double c = coefficients[k];
            for (ptrdiff_t i = 0; i < n; i++) {
                double next = c + twice[i] * last[i] - later[i];
                later[i] = last[i];
                last[i] = next;
            }
        }
        for (ptrdiff_t i = 0; i < n; i++) {
            sums_x[first + i] = coefficients[0] + cosine[i] * last[i] - later[i];
            sums_y[first + i] = sine[i] * last[i];
        }
    }
}

PyDoc_STRVAR(sums_doc, "sums(coefficients, cosines, sines, sums_x, sums_y)\n--\n\n"
"Write the sums (angles) of c_n cos(n a) and of c_n sin(n a), with c_0 in front, for angles of which\n"
"cosines and sines are given.");

static PyObject *sums(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "d coefficients (terms)", "d cosines (angles)", "d sines (angles)", "D sums_x (angles)",
        "D sums_y (angles)",
    };
    Argument a[5];
    if (!take(objects, count, rules, a, 5))
        return NULL;
    if (a[0].shape[0] > 0) {
        Py_BEGIN_ALLOW_THREADS
        write_sums(a[0].data, a[0].shape[0], a[1].data, a[2].data, a[1].shape[0], a[3].data, a[4].data);
        Py_END_ALLOW_THREADS
    }
    give_back(rules, a, 5);
    Py_RETURN_NONE;
}

KERNEL_MODULE(circularsums, "Sums of cosines and sines.", KERNEL(sums))
