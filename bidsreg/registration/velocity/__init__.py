"""What moves the particles: velocities, small classes with one contract."""
