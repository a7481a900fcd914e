"""SGLang's model gateway, and the servers behind it."""

from streamdocs_server.engines.gateway.endpoint import GatewayEndpoint

__all__ = ["GatewayEndpoint"]
