/* Means of a Sersic profile over single pixels, by Gauss rules over as many cells as they need.
 *
 * In pixel coordinates d from the centre the profile is I = exp(-b (P - 1)) with P = u^(1/2n) and u = d A d,
 * a quadratic form. Every integral is one of seven: of I, and of its derivatives by the two coordinates of
 * the centre, the three elements of A, and n.
 */

#ifndef LENSSUPER_PIXELS_H
#define LENSSUPER_PIXELS_H

#include <string.h>

#include "../../_utils/kernels.h"

#define INTEGRALS 7

/* Elements of A, so that u is (R / R_e)^2; Sersic index n, b_n, and the derivative of b_n by n. */
typedef struct {
    double a11, a12, a22, n, b, db;
} Form;

/* Gauss-Legendre on [-1/2, 1/2], of one to six points. */
#define MOST_POINTS 6
static const double NODES[MOST_POINTS + 1][MOST_POINTS] = {
    {0.0},
    {0.0},
    {-0.28867513459481287, 0.28867513459481287},
    {-0.3872983346207417, 0.0, 0.3872983346207417},
    {-0.4305681557970263, -0.16999052179242813, 0.16999052179242813, 0.4305681557970263},
    {-0.453089922969332, -0.26923465505284155, 0.0, 0.26923465505284155, 0.453089922969332},
    {-0.46623475710157597, -0.33060469323313224, -0.11930959304159845, 0.11930959304159845,
     0.33060469323313224, 0.46623475710157597},
};
static const double WEIGHTS[MOST_POINTS + 1][MOST_POINTS] = {
    {0.0},
    {1.0},
    {0.5, 0.5},
    {0.27777777777777785, 0.4444444444444444, 0.27777777777777785},
    {0.17392742256872679, 0.3260725774312732, 0.3260725774312732, 0.17392742256872679},
    {0.11846344252809464, 0.23931433524968315, 0.28444444444444433, 0.23931433524968315,
     0.11846344252809464},
    {0.08566224618958514, 0.18038078652406936, 0.23395696728634552, 0.23395696728634552,
     0.18038078652406936, 0.08566224618958514},
};
/* Error of these rules for the mean of exp(v t) over [-1, 1] is this times v^(2m)
 * (Abramowitz & Stegun 1964, eq. 25.4.30). */
static const double ERRORS[MOST_POINTS + 1] = {0.0, 1.0 / 6.0, 3.7e-3, 3.2e-5, 1.4e-7, 4.0e-10, 7.7e-13};

#define FAINT 30.0    /* a pixel of exp(-30) of the brightness at R_e needs no accuracy */
#define MOST_PARTS 32 /* cells along a side of a pixel */

static inline double quadratic(const Form *form, double dx, double dy)
{
    return form->a11 * dx * dx + 2.0 * form->a12 * dx * dy + form->a22 * dy * dy;
}

/* Add the profile and its derivatives at one point. */
static inline void add_point(double dx, double dy, double weight, const Form *form, double *out,
                             int derivatives)
{
    double n = form->n, b = form->b, db = form->db;
    double u = higher(quadratic(form, dx, dy), 1e-300);
    double log_u = log(u);
    double power = exp(log_u * (0.5 / n));
    double light = weight * exp(b - b * power);
    out[0] += light;
    if (!derivatives)
        return;
    double slope = -b / (2.0 * n) * power / u * light;
    out[1] -= 2.0 * slope * (form->a11 * dx + form->a12 * dy);
    out[2] -= 2.0 * slope * (form->a12 * dx + form->a22 * dy);
    out[3] += slope * dx * dx;
    out[4] += slope * 2.0 * dx * dy;
    out[5] += slope * dy * dy;
    out[6] += light * (db - db * power + b * power * log_u / (2.0 * n * n));
}

/* Return the order of the Gauss rule for a cell of half-size `half` at radius `s`, in units of R_e.
 *
 * With V = -d ln I / d ln s and rho = s / half, the k-th derivative along the cell is at most
 * V (V + 1) ... (V + k - 1) / rho^k of the value, which is that of (1 - t/rho)^-V. */
static int points_needed(double s, double half, const Form *form, double tol)
{
    double n = form->n, b = form->b;
    double rho = s / half;
    double power = exp(log(s) / n);
    if (b * power - b > FAINT + b / n * power / rho)
        return 2;
    double v = b / n * power;
    double bound = 1.0;
    for (int m = 1; m <= MOST_POINTS; m++) {
        bound *= (v + 2 * m - 2) * (v + 2 * m - 1) / (rho * rho);
        if (2.0 * ERRORS[m] * bound < tol)
            return m;
    }
    return MOST_POINTS;
}

/* Add the integral over a square cell, by a Gauss rule that is accurate enough. */
static void add_cell(double dx, double dy, double side, double half, const Form *form, double tol,
                     double *out, int derivatives)
{
    double s = sqrt(quadratic(form, dx, dy));
    double share = side * side;
    int m = points_needed(s, half * side, form, tol);
    for (int j = 0; j < m; j++) {
        double y = dy + side * NODES[m][j];
        for (int i = 0; i < m; i++) {
            double x = dx + side * NODES[m][i];
            add_point(x, y, share * WEIGHTS[m][i] * WEIGHTS[m][j], form, out, derivatives);
        }
    }
}

/* Return the number of cells along each side into which a pixel is divided. */
static int parts_needed(double s, double half, double ratio, const Form *form)
{
    double n = form->n, b = form->b;
    double rho = s / half;
    double exponent = b * exp(log(higher(s - half, 1e-300)) / n);
    if (exponent - b > FAINT)
        return 1;
    double parts = 1.0;
    if (rho < 2.2)
        parts = 2.2 / higher(rho - 1.0, 1.41 * ratio);
    double steep = b / n * exp(log(s) / n) / rho;
    parts = higher(parts, steep / 2.5);
    return (int)lower(MOST_PARTS, ceil(parts));
}

/* Add the mean over a pixel that is divided into cells. */
static void add_divided(double dx, double dy, double half, double ratio, const Form *form, double tol,
                        double *out, int derivatives)
{
    double s = sqrt(quadratic(form, dx, dy));
    int parts = parts_needed(s, half, ratio, form);
    double side = 1.0 / parts;
    for (int jj = 0; jj < parts; jj++) {
        double y = dy + (jj + 0.5) * side - 0.5;
        for (int ii = 0; ii < parts; ii++) {
            double x = dx + (ii + 0.5) * side - 0.5;
            add_cell(x, y, side, half, form, tol, out, derivatives);
        }
    }
}

#endif
