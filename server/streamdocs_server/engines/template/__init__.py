"""An engine without a model, for trying everything out on a laptop, and for text by rule."""

from streamdocs_server.engines.template.engine import TemplateEngine

__all__ = ["TemplateEngine"]
