"""How the pages are made: `sphinx-build -W --keep-going -n docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import jaxmem

project = "jaxmem"
author = "The jaxmem developers"
copyright = "the jaxmem developers, MIT licence"
release = version = jaxmem.__version__

extensions = ["sphinx.ext.autodoc", "docstrings", "sphinx.ext.napoleon", "myst_nb", "equations", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True

# Shapes and units stand in the docstrings; annotations would say them twice.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
# Several arguments may share a line: "low, high: ends of the interval".
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

myst_enable_extensions = ["dollarmath", "deflist", "fieldlist"]
myst_heading_anchors = 3
# Notebooks are shown with the outputs that they were saved with.
nb_execution_mode = "off"
nb_merge_streams = True

html_theme = "furo"
html_title = "jaxmem"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
