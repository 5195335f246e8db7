"""``ms2img deepion``: mass-spectrometry images to ion images, embeddings, co-localised ions and isotopes."""
