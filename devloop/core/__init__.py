"""The pure part: text and values in, values out. No disk, network, clock, environment or async."""
