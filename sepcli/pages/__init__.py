"""Pages of HTML that need nothing else: no network, no files beside them; all images and audio are inside."""
