"""Characters: folders with a reference image, face boxes, emotion references and a prompt."""
