"""Files of sound and video: read whole, written so that they are whole or say so."""
