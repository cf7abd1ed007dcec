"""DICOMweb (PS3.18): instances come in by STOW-RS, are found by QIDO-RS, and go out by WADO-RS."""
