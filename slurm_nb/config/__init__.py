"""Config files, their layers, and a site's rules."""
