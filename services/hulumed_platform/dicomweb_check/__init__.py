"""A conformance checker for any DICOMweb server (PS3.18): one named check a rule, on data made in memory."""
