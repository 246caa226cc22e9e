"""What happens to a pair before it is registered, as plain functions: masks, bias field, prealignment."""
