"""Programs: how one generation comes to be, where that takes more than one prompt, one call or one model."""
