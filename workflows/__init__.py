"""The Nipype graphs: the whole run, one pair, and a pair's four rooms, each of which works in anybody's graph."""
