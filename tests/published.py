"""What papers publish, for laws to be fitted to."""

import numpy as np

from streamdocs.measure.runs import Points

#: SynthLLM (arXiv 2503.19551): accuracy in percent after so many billions of tokens, by size of the student.
BILLIONS = np.array([10.0, 50.0, 250.0, 300.0, 1000.0, 4000.0])
ACCURACY = {"3B": [64.6, 74.7, 80.5, 80.9, 83.1, 84.4], "8B": [73.2, 78.6, 81.4, 81.6, 82.6, 83.2]}
#: Of a figure that is rounded to a tenth.
ROUNDED = 0.1 / 12**0.5


def error_rates(name: str) -> Points:
    """Error rates in percent of the student of this size."""
    return Points(name, name, 0, BILLIONS * 1e9, 100 - np.array(ACCURACY[name]))
