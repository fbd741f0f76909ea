/* Reads the arguments of compiled kernels: arrays and numbers, each by a rule in words.
 *
 * "d x (n, 2)" is a float64 array of shape (n, 2) that is read; a capital letter, "D x (n, 2)", one that is
 * written. A name in a shape stands for what it was the first time, so that sizes are checked against each
 * other; "m+1" is one more than it, "*" is any size. Numbers have no shape: "n rows" is an integer, "r tol" a
 * real number; an integer can be used as a size after it. Arrays are in C order and aligned.
 */

#ifndef LENSSUPER_ARGUMENTS_H
#define LENSSUPER_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define MOST_AXES 4
#define MOST_SIZES 24

typedef struct {
    void *data; /* of an array */
    ptrdiff_t shape[MOST_AXES];
    ptrdiff_t integer;
    double real;
    Py_buffer view;
} Argument;

typedef struct {
    const char *name;
    size_t length;
    ptrdiff_t size;
} Size;

typedef struct {
    Size known[MOST_SIZES];
    int count;
} Sizes;

static Size *find_size(Sizes *sizes, const char *name, size_t length)
{
    for (int i = 0; i < sizes->count; i++)
        if (sizes->known[i].length == length && strncmp(sizes->known[i].name, name, length) == 0)
            return sizes->known + i;
    return NULL;
}

static void keep_size(Sizes *sizes, const char *name, size_t length, ptrdiff_t size)
{
    Size found = {name, length, size};
    if (sizes->count < MOST_SIZES)
        sizes->known[sizes->count++] = found;
}

/* Whether one axis is as long as its rule says, which begins at *rule; that is moved behind it. */
static int fits_axis(const char **rule, ptrdiff_t size, Sizes *sizes)
{
    const char *name = *rule;
    size_t length = strcspn(name, "+,)");
    ptrdiff_t extra = name[length] == '+' ? strtol(name + length + 1, NULL, 10) : 0;
    *rule = name + strcspn(name, ",)");
    if (*name == '*')
        return 1;
    if (isdigit((unsigned char)*name))
        return size == strtol(name, NULL, 10);
    Size *found = find_size(sizes, name, length);
    if (found)
        return size == found->size + extra;
    keep_size(sizes, name, length, size - extra);
    return size >= extra;
}

static int fits_shape(const char *rule, const Py_buffer *view, Sizes *sizes)
{
    int axis = 0;
    while (*rule && *rule != ')') {
        rule += strspn(rule, "(, ");
        if (axis >= view->ndim || !fits_axis(&rule, view->shape[axis], sizes))
            return 0;
        axis++;
    }
    return axis == view->ndim;
}

/* Whether the elements of a buffer are those of a letter: d, f, i, l (int64), b (bool). */
static int fits_kind(char letter, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '=' || *format == '@' || *format == '<')
        format++;
    switch (tolower((unsigned char)letter)) {
    case 'd':
        return *format == 'd';
    case 'f':
        return *format == 'f';
    case 'i':
        return view->itemsize == 4 && strchr("il", *format) != NULL;
    case 'l':
        return view->itemsize == 8 && strchr("lq", *format) != NULL;
    case 'b':
        return *format == '?';
    }
    return 0;
}

static const char *kind_name(char letter)
{
    switch (tolower((unsigned char)letter)) {
    case 'd':
        return "float64";
    case 'f':
        return "float32";
    case 'i':
        return "int32";
    case 'l':
        return "int64";
    }
    return "bool";
}

static int refuse_array(const char *rule)
{
    const char *name = rule + 2, *shape = strchr(rule, '(');
    PyObject *word = PyUnicode_FromStringAndSize(name, shape - name - 1);
    if (word) {
        PyErr_Format(PyExc_ValueError, "%U must be a %sC-contiguous array of %s, of shape %s", word,
                     isupper((unsigned char)*rule) ? "writable, " : "", kind_name(*rule), shape);
        Py_DECREF(word);
    }
    return 0;
}

static int take_array(PyObject *object, const char *rule, Argument *argument, Sizes *sizes)
{
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (isupper((unsigned char)*rule) ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &argument->view, flags) < 0) {
        PyErr_Clear();
        return refuse_array(rule);
    }
    const char *shape = strchr(rule, '(');
    if (!fits_kind(*rule, &argument->view) || !fits_shape(shape, &argument->view, sizes)) {
        PyBuffer_Release(&argument->view);
        return refuse_array(rule);
    }
    argument->data = argument->view.buf;
    for (int axis = 0; axis < argument->view.ndim; axis++)
        argument->shape[axis] = argument->view.shape[axis];
    return 1;
}

static int take_number(PyObject *object, const char *rule, Argument *argument, Sizes *sizes)
{
    if (*rule == 'n') {
        argument->integer = PyNumber_AsSsize_t(object, PyExc_OverflowError);
        keep_size(sizes, rule + 2, strlen(rule + 2), argument->integer);
    } else {
        argument->real = PyFloat_AsDouble(object);
    }
    return !PyErr_Occurred();
}

/* Give back the buffers of the first `count` arguments. */
static void give_back(const char *const *rules, Argument *arguments, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        if (strchr(rules[i], '('))
            PyBuffer_Release(&arguments[i].view);
}

/* Read all arguments by their rules; 0 if one breaks its rule, and an exception is set then. */
static int take(PyObject *const *objects, Py_ssize_t given, const char *const *rules, Argument *arguments,
                Py_ssize_t count)
{
    Sizes sizes = {.count = 0};
    if (given != count) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are needed; got %zd", count, given);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        int array = strchr(rules[i], '(') != NULL;
        if (!(array ? take_array : take_number)(objects[i], rules[i], arguments + i, &sizes)) {
            give_back(rules, arguments, i);
            return 0;
        }
    }
    return 1;
}

/* A row in the table of a module: a function of this file that takes its arguments as above. */
#define KERNEL(name) {#name, (PyCFunction)(void *)name, METH_FASTCALL, name##_doc}

/* The module of a file, which is called as the file, from its kernels. */
#define KERNEL_MODULE(name, doc, ...)                                                                   \
    static PyMethodDef methods[] = {__VA_ARGS__, {NULL}};                                               \
    static PyModuleDef definition = {                                                                   \
        PyModuleDef_HEAD_INIT, .m_name = #name, .m_doc = doc, .m_methods = methods,                     \
    };                                                                                                  \
    PyMODINIT_FUNC PyInit_##name(void) { return PyModuleDef_Init(&definition); }

#endif
