"""Files to Arrow tables: one module a format, the sample sheet, the image data set."""
