"""
Configuration of the documentation, on top of what the astropy packages share (sphinx-astropy).

Without network the names of other projects are no links; the pages need none to be read.
"""

import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

# The gallery is drawn into files; no window is ever opened.
os.environ.setdefault("MPLBACKEND", "Agg")

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx_astropy.conf.v2 import *  # noqa: F403
from sphinx_astropy.conf.v2 import exclude_patterns, extensions, intersphinx_mapping
from sphinx_gallery.directives import imgsgnode

import lenssuper

sys.path.insert(0, str(Path(__file__).parent))

import floors

# -- Project ---------------------------------------------------------------------------------------

project = "lenssuper"
author = "The lenssuper developers"
copyright = f"{datetime.now(tz=UTC).year}, {author}"
release = lenssuper.__version__
version = release.split("+")[0]

# -- Reading the sources ---------------------------------------------------------------------------

exclude_patterns += ["changes/*", "figures/*"]
rst_epilog = ""

extensions += ["sphinx_gallery.gen_gallery"]
extensions.remove("sphinx.ext.mathjax")  # it loads its program from the network; see write_formula

automodapi_toctreedirnm = "api/generated"
# An inheritance diagram is drawn by graphviz; where that is not installed the pages do without.
automodapi_inheritance_diagram = shutil.which("dot") is not None
numpydoc_xref_param_type = False
# Types are in the docstrings' lists of parameters.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"  # there is no room for them beside the page

# Every reference to a public name of this package has to lead somewhere. Other projects' names are looked up
# through intersphinx, where there is a network, and are not insisted on; neither are the private bases of
# public classes, which are written with the file they live in (lenssuper.lens.base.Name).
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!lenssuper\.).*"),
    (r"py:.*", r"lenssuper\.(_\w+|\w+(\.[a-z_]\w*)+)\.[A-Z]\w*"),
]

intersphinx_mapping.pop("pythonloc", None)
intersphinx_mapping.pop("astropy.org", None)
intersphinx_mapping.pop("h5py", None)
intersphinx_mapping["torch"] = ("https://docs.pytorch.org/docs/stable/", None)
intersphinx_mapping["lenstronomy"] = ("https://lenstronomy.readthedocs.io/en/stable/", None)


def _is_online():
    """Whether there is a network: without one each inventory would be a warning, and warnings are errors."""
    try:
        urlopen(f"{intersphinx_mapping['python'][0]}objects.inv", timeout=10).close()
    except OSError:
        return False
    return True


if not _is_online():
    intersphinx_mapping.clear()

# -- Gallery ---------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "gallery/backreferences",
    "filename_pattern": r"[/\\]plot_",
    "parallel": True,  # as many examples at once as "sphinx-build -j" says
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "image_scrapers": ("matplotlib",),
    "ignore_repr_types": r"matplotlib",  # what a last line that draws returns
    "matplotlib_animations": False,
    "doc_module": ("lenssuper",),
    "reference_url": {"lenssuper": None},
}

# -- HTML ------------------------------------------------------------------------------------------

html_title = f"lenssuper {version}"
html_theme_options = {
    "logo": {"text": "lenssuper"},
    "navigation_depth": 3,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "use_edit_page_button": False,
}
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
# The whole table of contents: pages at the top have no section of their own to show.
templates_path = ["_templates"]
html_sidebars = {"**": ["contents.html"]}

linkcheck_timeout = 60
linkcheck_anchors = False


# -- References ------------------------------------------------------------------------------------


def resolve_through_the_room(app, env, node, contnode):
    """Lead ``lenssuper.operators.Binning`` to ``lenssuper.Binning``, where the class is documented."""
    package, room, name, *member = [*node.get("reftarget", "").split("."), "", ""][:4]
    if package != "lenssuper" or lenssuper._MODULE_OF.get(name) != room:
        return None
    target = ".".join(["lenssuper", name, *filter(None, member)])
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contnode)


def write_formula(translator, node):
    """Write a formula as MathML, which browsers show without a program."""
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=block)
    style = "margin: 1em 0; overflow-x: auto"
    translator.body.append(f'<div style="{style}">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def draw_floors(app):
    """Draw the rooms of the package for the page on development."""
    floors.draw(Path(app.srcdir) / "floors.svg")


def add_groups(app, pagename, templatename, context, doctree):
    """Put the names of the user guide's groups into the sidebar, which shows those of the first page only."""
    contents = context.get("toctree")
    if contents is None:
        return
    groups = [
        (each["caption"], "#" if first == pagename else app.builder.get_relative_uri(pagename, first))
        for each in app.env.get_doctree("user_guide/index").findall(addnodes.toctree)
        for _, first in each["entries"][:1]
    ]

    def grouped(**options):
        html = contents(**options)
        for name, link in groups:
            entry = re.compile(rf'<li class="toctree-l2[^"]*"><a [^>]*href="{re.escape(link)}"')
            label = (
                f'<li class="toctree-l2"><p class="caption"><span class="caption-text">{name}</span></p></li>'
            )
            html = entry.sub(lambda found, label=label: label + found[0], html, count=1)
        return html

    context["toctree"] = grouped


def add_captions(app, doctree):
    """Give each figure of the gallery a caption: the section it is in, and what its panels show."""
    for image in list(doctree.findall(imgsgnode)):
        section = image.parent
        while not isinstance(section, nodes.section):
            section = section.parent
        caption = f"{section.next_node(nodes.title).astext()}: {image['alt']}."
        figure = nodes.figure("", image.deepcopy(), nodes.caption(caption, caption))
        doctree.note_implicit_target(figure)  # Sphinx wants each figure to have a name
        image.replace_self(figure)


def setup(app):
    """Register what this file adds to Sphinx."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", draw_floors)
    app.connect("doctree-read", add_captions)
    app.connect("html-page-context", add_groups, priority=900)  # after the theme
    app.connect("missing-reference", resolve_through_the_room)
