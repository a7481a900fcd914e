"""Supervision: an SGLang server that is started, watched, restarted and ended with this process."""
