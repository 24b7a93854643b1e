"""A web page that shows pipelines at work: `warren dashboard`, and `warren run --dashboard`."""
