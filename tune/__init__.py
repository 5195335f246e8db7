"""Search spaces and the sweep over them, on Ray Tune; a trial trains by `ms2img.learn`."""
