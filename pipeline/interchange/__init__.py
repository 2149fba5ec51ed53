"""Labels that come from other programs as a data set, and labels that go to other programs."""
