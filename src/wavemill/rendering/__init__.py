"""One chunk on one worker: read, make, invert, encode, write, record. The only room that knows jobs and sound both."""
