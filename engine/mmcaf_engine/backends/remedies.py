"""What to do where a backend cannot, as several rooms say it."""

from ..errors import Remedy, program

SEE_WHAT_RUNS = Remedy("See what this machine can run", command=program("doctor"))
OTHER_BACKEND = Remedy("Use another backend", option="backend")
ANY_BACKEND = Remedy("Let the backend be chosen", option="backend", value="auto")
ANY_PRECISION = Remedy("Let the precision be chosen", option="precision", value="auto")
BUILD_AGAIN = Remedy("Build it again on this machine", command=program("build", "BUNDLE"))
