"""How work is run, whoever asks: Nipype's local engine, batch systems, crashes, and what the machine offers."""
