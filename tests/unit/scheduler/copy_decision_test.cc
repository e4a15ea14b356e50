#include "fake_cluster.h"
