"""Speech with known mouths: synthetic voices, sentences, augmentation."""
