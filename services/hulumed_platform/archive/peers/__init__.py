"""Other archives: asking which studies they have of a patient, and fetching one."""
