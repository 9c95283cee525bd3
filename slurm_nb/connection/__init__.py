"""From a session that runs to the browser on the laptop."""
