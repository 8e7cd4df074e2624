"""A model's folder as files: record, digests, arrays, card; found, read and replaced as a whole."""
