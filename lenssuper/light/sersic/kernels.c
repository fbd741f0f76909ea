/* Means of a Sersic profile over the pixels of an image.
 *
 * Pixels beside each other that need the same Gauss rule are integrated together, in loops over vectors.
 * Pixels in which the profile is steep are divided, and those around the centre have rules of their own. */

#include "../../_utils/arguments.h"

#include "centre.h"
#include "pixels.h"

/* Pixels of a row that are worked on at once: few enough for their sums to stay in the cache. */
#define WIDTH 64
/* Pixels in a vector: runs are padded to whole groups, so that none are left over for a slower loop. */
#define GROUP 4

/* Bits of a double: the mantissa, the number 1, 2^-1/2, 2^52, and the position of the exponent. */
#define MANTISSA 0xFFFFFFFFFFFFFu
#define ONE 0x3FF0000000000000u
#define ROOT_HALF 0x3FE6A09E667F3BCDu
#define TWO_52 0x4330000000000000u
#define EXPONENT 52
#define OFFSET 1024 /* added to exponents, so that they are not negative */
/* 1.5 2^52: added to a small number, the low bits are the nearest integer. */
#define ROUNDER 6755399441055744.0

#define SIZES 3                   /* bins of u in an octave are two to the power of this */
#define MOST_BINS (2048 << SIZES) /* of all positive numbers */
#define SMALLEST 1e-290           /* u that is taken for zero */
#define AROUND (-1)               /* rule of the pixels around the centre */

INLINED uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

INLINED double number_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Natural logarithm of a positive number, without branches and tables, so that loops can be vectorised.
 *
 * The mantissa m is scaled to [2^-1/2, 2^1/2), where log(m) = 2 artanh((m - 1) / (m + 1)) is a short
 * series. */
INLINED double logarithm(double number)
{
    uint64_t shifted = bits_of(number) - ROOT_HALF + ((uint64_t)OFFSET << EXPONENT);
    /* the low bits of a number between 2^52 and 2^53 are an integer */
    double exponent = number_of(TWO_52 | shifted >> EXPONENT) - (4503599627370496.0 + OFFSET);
    double m = number_of((shifted & MANTISSA) + ROOT_HALF);
    double t = (m - 1.0) / (m + 1.0);
    double z = t * t;
    double series = 1.0 / 9.0 + z * (1.0 / 11.0 + z * (1.0 / 13.0 + z * (1.0 / 15.0 + z / 17.0)));
    series = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * series)));
    return exponent * 0.6931471805599453 + 2.0 * t * series;
}

/* Exponential of a number above -700, likewise: 2^k e^r with r at most log(2) / 2. */
INLINED double exponential(double number)
{
    number = higher(number, -700.0);
    double rounded = number * 1.4426950408889634 + ROUNDER;
    double r = number - (rounded - ROUNDER) * 0.6931471805599453;
    double series = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r / 3628800.0);
    series = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * series));
    series = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * series));
    return (1.0 + r * (1.0 + r * series)) * number_of((bits_of(rounded) << EXPONENT) + ONE);
}

/* Add light, and its derivatives, at points beside each other: one in each of `count` pixels, the first of
 * which is `skipped` pixels after that of the point `first`. */
INLINED void add_points(double first, double y, double weight, int skipped, int count,
                        const Form *form, double *ALONE light_sum, double *ALONE by_x,
                        double *ALONE by_y, double *ALONE by_a11, double *ALONE by_a12,
                        double *ALONE by_a22, double *ALONE by_n, int derivatives)
{
    double a11 = form->a11, a12 = form->a12, a22 = form->a22, n = form->n, b = form->b, db = form->db;
    double to_power = 0.5 / n, factor = -b / (2.0 * n), half = b / (2.0 * n * n);
    for (int i = 0; i < count; i++) {
        double x = first + (skipped + i);
        double u = higher(a11 * x * x + 2.0 * a12 * x * y + a22 * y * y, SMALLEST);
        double log_u = logarithm(u);
        double power = exponential(log_u * to_power);
        double light = exponential(b - b * power) * weight;
        light_sum[i] += light;
        if (derivatives) {
            double slope = factor * power / u * light;
            by_x[i] -= 2.0 * slope * (a11 * x + a12 * y);
            by_y[i] -= 2.0 * slope * (a12 * x + a22 * y);
            by_a11[i] += slope * x * x;
            by_a12[i] += slope * 2.0 * x * y;
            by_a22[i] += slope * y * y;
            by_n[i] += light * (db - db * power + half * power * log_u);
        }
    }
}

/* Fill `sums` as `run` does. */
INLINED void add_rule(double dx, double dy, int skipped, int count, int m, const Form *form,
                      double (*sums)[WIDTH], int derivatives)
{
    for (int k = 0; k < (derivatives ? INTEGRALS : 1); k++)
        memset(sums[k], 0, count * sizeof(double));
    for (int j = 0; j < m; j++) {
        for (int i = 0; i < m; i++) {
            double x = dx + NODES[m][i], y = dy + NODES[m][j], weight = WEIGHTS[m][i] * WEIGHTS[m][j];
            add_points(x, y, weight, skipped, count, form, sums[0], sums[1], sums[2], sums[3], sums[4],
                       sums[5], sums[6], derivatives);
        }
    }
}

/* Fill `sums` with the means over pixels beside each other, all by the Gauss rule of order m. */
FOR_WIDER_VECTORS
static void run(double dx, double dy, int skipped, int count, int m, const Form *form, double (*sums)[WIDTH],
                int derivatives)
{
    if (derivatives)
        add_rule(dx, dy, skipped, count, m, form, sums, 1);
    else
        add_rule(dx, dy, skipped, count, m, form, sums, 0);
}

/* Write derivatives by a parameter, whose derivatives of cx, cy, a11, a12, a22, n are `row`. */
FOR_WIDER_VECTORS
static void write_slopes(const double *ALONE row, double (*ALONE sums)[WIDTH], int count,
                         double *ALONE slopes)
{
    for (int i = 0; i < count; i++)
        slopes[i] = row[0] * sums[1][i] + row[1] * sums[2][i] + row[2] * sums[3][i] + row[3] * sums[4][i] +
                    row[4] * sums[5][i] + row[5] * sums[6][i];
}

/* What is the same for all pixels of an image. */
typedef struct {
    double cx, cy, tol;
    Form form;
    double half, ratio; /* half a diagonal, and the axis ratio, of a pixel seen in units of R_e */
    ptrdiff_t ny, nx, border, wanted;
    const double *transform;
    double *image, *slopes;
    double left, bottom; /* the first of the pixels around the centre */
    int reaches;         /* whether any of them is in the image */
    double around[3][3][INTEGRALS];
    int low, high;                                  /* bins of the smallest and the largest u */
    signed char rules[MOST_BINS], loose[MOST_BINS]; /* of the bins, inside and at the border */
} Image;

static int bin_of(double u) { return (int)(bits_of(u) >> (EXPONENT - SIZES)); }

static double largest_eigenvalue(const Form *form)
{
    double mean = 0.5 * (form->a11 + form->a22), difference = form->a11 - form->a22;
    return mean + sqrt(0.25 * (difference * difference) + form->a12 * form->a12);
}

/* Find the bins of the smallest and the largest u. */
static void find_bins(Image *im)
{
    const Form *form = &im->form;
    double a11 = form->a11, a12 = form->a12, a22 = form->a22;
    double smallest, largest = SMALLEST;
    for (int corner = 0; corner < 4; corner++) {
        double dx = (corner % 2 ? im->nx - 1 : 0) - im->cx, dy = (corner / 2 ? im->ny - 1 : 0) - im->cy;
        largest = higher(largest, quadratic(form, dx, dy));
    }
    smallest = lower(higher(SMALLEST, (a11 * a22 - a12 * a12) / largest_eigenvalue(form) * 0.01), largest);
    im->low = bin_of(smallest), im->high = bin_of(largest);
}

/* Find the order of the Gauss rule for each bin of u; 0 to divide the pixel.
 *
 * A bin takes the higher of the orders at its inner and its outer edge. */
static void find_rules(const Image *im, double tol, signed char *rules)
{
    int inner = 0;
    for (int bin = im->low; bin <= im->high + 1; bin++) {
        double s = sqrt(number_of((uint64_t)bin << (EXPONENT - SIZES)));
        int outer = 0;
        if (parts_needed(s, im->half, im->ratio, &im->form) == 1)
            outer = points_needed(s, im->half, &im->form, tol);
        if (bin > im->low)
            rules[bin - 1] = (signed char)(inner == 0 || outer == 0 ? 0 : more(inner, outer));
        inner = outer;
    }
}

/* Fill what follows from the arguments. */
static void prepare(Image *im)
{
    const Form *form = &im->form;
    double a11 = form->a11, a12 = form->a12, a22 = form->a22;
    im->half = 0.5 * sqrt(a11 + a22 + 2.0 * fabs(a12));
    im->ratio = sqrt(higher(a11 * a22 - a12 * a12, 0.0)) / largest_eigenvalue(form);
    im->left = rint(im->cx) - 1.0, im->bottom = rint(im->cy) - 1.0;
    im->reaches = -3.0 < im->left && im->left < im->nx && -3.0 < im->bottom && im->bottom < im->ny;
    if (im->reaches)
        near_pixels(im->cx, im->cy, im->left, im->bottom, form, im->around, im->wanted > 0);
    find_bins(im);
    find_rules(im, im->tol, im->rules);
    if (im->border > 0)
        find_rules(im, higher(im->tol, 1e-2), im->loose);
}

/* Return the rule of a pixel. */
static int rule_of(const Image *im, ptrdiff_t j, ptrdiff_t i)
{
    if (im->reaches && im->left <= i && i <= im->left + 2 && im->bottom <= j && j <= im->bottom + 2)
        return AROUND;
    ptrdiff_t border = im->border;
    int inside = border <= i && i < im->nx - border && border <= j && j < im->ny - border;
    int bin = bin_of(quadratic(&im->form, i - im->cx, j - im->cy));
    bin = bin < im->low ? im->low : bin > im->high ? im->high : bin;
    return inside ? im->rules[bin] : im->loose[bin];
}

/* Fill the first of `sums` with the mean over one pixel that has no vectorised rule. */
static void fill_pixel(const Image *im, ptrdiff_t j, ptrdiff_t i, int rule, double (*sums)[WIDTH])
{
    double out[INTEGRALS] = {0.0};
    const double *mean = out;
    if (rule == AROUND)
        mean = im->around[(int)(j - im->bottom)][(int)(i - im->left)];
    else
        add_divided(i - im->cx, j - im->cy, im->half, im->ratio, &im->form, im->tol, out, im->wanted > 0);
    for (int k = 0; k < INTEGRALS; k++)
        sums[k][0] = mean[k];
}

/* Write `sums` to pixels beside each other. */
static void write_means(const Image *im, ptrdiff_t j, ptrdiff_t i, int count, double (*sums)[WIDTH])
{
    memcpy(im->image + j * im->nx + i, sums[0], count * sizeof(double));
    for (ptrdiff_t p = 0; p < im->wanted; p++)
        write_slopes(im->transform + 6 * p, sums, count, im->slopes + (p * im->ny + j) * im->nx + i);
}

static void fill_row(const Image *im, ptrdiff_t j)
{
    double sums[INTEGRALS][WIDTH];
    int rule, next = rule_of(im, j, 0);
    for (ptrdiff_t i = 0, end; i < im->nx; i = end) {
        rule = next;
        for (end = i + 1; end < im->nx && (next = rule_of(im, j, end)) == rule && rule > 0; end++)
            ;
        if (rule <= 0) {
            fill_pixel(im, j, i, rule, sums);
            write_means(im, j, i, 1, sums);
            continue;
        }
        for (ptrdiff_t k = i; k < end; k += WIDTH) {
            int count = (int)fewer(WIDTH, end - k), padded = (count + GROUP - 1) / GROUP * GROUP;
            run(i - im->cx, j - im->cy, (int)(k - i), padded, rule, &im->form, sums, im->wanted > 0);
            write_means(im, j, k, count, sums);
        }
    }
}

PyDoc_STRVAR(averages_doc,
"averages(cx, cy, a11, a12, a22, n, b, db, transform, tol, border, image, slopes)\n--\n\n"
"Fill ``image`` with the means over the pixels, and ``slopes`` with derivatives unless it is empty.\n\n"
"Parameters\n"
"----------\n"
"cx, cy : float\n"
"    Centre in pixel coordinates (column, row).\n"
"a11, a12, a22 : float\n"
"    Elements of the quadratic form, (R / R_e)^2 of distances in pixels from the centre.\n"
"n, b, db : float\n"
"    Sersic index, b_n, and the derivative of b_n by n.\n"
"transform : array, shape (k, 6)\n"
"    Derivatives of cx, cy, a11, a12, a22, n by the k parameters.\n"
"tol : float\n"
"    Largest error relative to the pixel.\n"
"border : int\n"
"    Pixels at each edge whose error may be larger, up to 1e-2.\n"
"image : array, shape (ny, nx)\n"
"slopes : array, shape (k, ny, nx) or (0, ny, nx)");

static PyObject *averages(PyObject *module, PyObject *const *objects, Py_ssize_t count)
{
    static const char *const rules[] = {
        "r cx", "r cy", "r a11", "r a12", "r a22", "r n", "r b", "r db", "d transform (k, 6)", "r tol",
        "n border", "D image (ny, nx)", "D slopes (k, ny, nx)",
    };
    Argument a[13];
    if (!take(objects, count, rules, a, 13))
        return NULL;
    Image im = {
        .cx = a[0].real, .cy = a[1].real, .tol = a[9].real,
        .form = {a[2].real, a[3].real, a[4].real, a[5].real, a[6].real, a[7].real},
        .ny = a[11].shape[0], .nx = a[11].shape[1], .border = a[10].integer, .wanted = a[8].shape[0],
        .transform = a[8].data, .image = a[11].data, .slopes = a[12].data,
    };
    if (isnan(im.form.a11 + im.form.a12 + im.form.a22)) {
        give_back(rules, a, 13);
        PyErr_SetString(PyExc_ValueError, "the quadratic form of a profile is not a number");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    prepare(&im);
    for (ptrdiff_t j = 0; im.nx > 0 && j < im.ny; j++)
        fill_row(&im, j);
    Py_END_ALLOW_THREADS
    give_back(rules, a, 13);
    Py_RETURN_NONE;
}

KERNEL_MODULE(kernels, "Means of a Sersic profile over pixels.", KERNEL(averages))
