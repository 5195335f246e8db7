"""The S3 half of `ms2img.io.storage`; imported only when a location is in an object store."""
