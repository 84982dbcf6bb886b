"""Query templates: SQL files whose parameters are declared, checked and bound, never pasted.

Knows the files and what their parameters may be. Must not know HTTP, nor how SQL is parsed or run:
the caller of ``TemplateLibrary.load`` brings the check of the statements.
"""

from chronoduck.service.templates.library import StatementFacts, TemplateLibrary
from chronoduck.service.templates.parameters import Parameter
from chronoduck.service.templates.template import Template, single_values

__all__ = ["Parameter", "StatementFacts", "Template", "TemplateLibrary", "single_values"]
