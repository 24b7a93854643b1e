"""``warren dev``: a pipeline on the embedded broker, with sample messages, anew at each save."""
