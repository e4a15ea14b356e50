"""Makes gradients and the weights that reference optimizers reach with them, in float64, for optimizer_reference_test.cc.

Usage: optimizer_reference.py FOLDER. For each case NAME it writes FOLDER/NAME.json (the table) and three raw arrays:
NAME.keys (uint64 [steps, touched]), NAME.grads (float32 [steps, touched, dim]) and NAME.want (float64 [rows, dim]).
References are torch.optim's where it has the optimizer, one parameter a row, so that a row that a step does not touch is not
stepped. The others follow their papers, or the formulas of common/cluster/table_spec.h: FTRL is Algorithm 1 of McMahan et al.,
"Ad Click Prediction: a View from the Trenches", 2013; LAMB is Algorithm 2 of You et al., "Large Batch Optimization for Deep
Learning", 2020, with a row in the place of a layer.
"""
import json
import pathlib
import sys

import numpy as np
import torch

STEPS = 1000
SHAPES = {"dense": dict(rows=4, dim=256, touched=4), "sparse": dict(rows=100, dim=8, touched=10)}
INITIAL = 0.25


def f32(value):
    """The float64 of the float32 that the server is given, so that both sides step by the same number."""
    return float(np.float32(value))


class Torch:
    """An optimizer of torch.optim; `make` gets the parameters."""

    def __init__(self, make):
        self.make = make

    def begin(self, options, rows, dim):
        self.parameters = [torch.full((dim,), INITIAL, dtype=torch.float64, requires_grad=True) for _ in range(rows)]
        self.optimizer = self.make(self.parameters)
        for group in self.optimizer.param_groups:
            for name in ("lr", "eps", "weight_decay", "momentum", "alpha"):
                if name in group:
                    group[name] = f32(group[name])
            if "betas" in group:
                group["betas"] = tuple(f32(b) for b in group["betas"])

    def step(self, at, grads, rate):
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for i, key in enumerate(at):
            self.parameters[key].grad = torch.from_numpy(grads[i].copy())
        self.optimizer.step()
        for key in at:
            self.parameters[key].grad = None

    def weights(self):
        return np.stack([p.detach().numpy() for p in self.parameters])


class Numpy:
    """Rows of weights and the state that a step has; subclasses say the step of the rows `at`."""
    initial = INITIAL

    def begin(self, options, rows, dim):
        self.o = {k: f32(v) for k, v in options.items() if k != "kind"}
        self.w = np.full((rows, dim), self.initial)
        self.m, self.v = np.zeros((rows, dim)), np.zeros((rows, dim))
        self.row = np.zeros((rows, 1))
        self.t = np.zeros((rows, 1))

    def weights(self):
        return self.w

    def decayed(self, at, g):
        return g + self.o.get("l2", 0) * self.w[at]

    def first_mean(self, at, g):
        b = self.o["beta1"]
        self.t[at] += 1
        self.m[at] = b * self.m[at] + (1 - b) * g
        return self.m[at] / (1 - b ** self.t[at])


class Add(Numpy):
    def step(self, at, g, rate):
        self.w[at] += g


class Assign(Numpy):
    def step(self, at, g, rate):
        self.w[at] = g


class Sgd(Numpy):
    """`rate` may be one a row."""

    def step(self, at, g, rate):
        self.w[at] -= rate * self.decayed(at, g)


class Ftrl(Numpy):
    initial = 0.0

    def step(self, at, g, rate):
        alpha, beta, l1, l2 = (self.o[k] for k in ("learning_rate", "beta", "l1", "l2"))
        z, n = self.m, self.v
        sigma = (np.sqrt(n[at] + g * g) - np.sqrt(n[at])) / alpha
        z[at] += g - sigma * self.w[at]
        n[at] += g * g
        self.w[at] = np.where(np.abs(z[at]) <= l1, 0, -(z[at] - np.sign(z[at]) * l1) / ((beta + np.sqrt(n[at])) / alpha + l2))


class Lamb(Numpy):
    def step(self, at, g, rate):
        b = self.o["beta2"]
        mean = self.first_mean(at, g)
        self.v[at] = b * self.v[at] + (1 - b) * g * g
        root = np.sqrt(self.v[at] / (1 - b ** self.t[at])) + self.o["epsilon"]
        u = mean / root + self.o.get("l2", 0) * self.w[at]
        ratio = np.linalg.norm(self.w[at], axis=1, keepdims=True) / np.linalg.norm(u, axis=1, keepdims=True)
        self.w[at] -= rate * ratio * u


class AdagradRow(Numpy):
    def begin(self, options, rows, dim):
        super().begin(options, rows, dim)
        self.row += self.o.get("initial_accumulator", 0)

    def step(self, at, g, rate):
        g = self.decayed(at, g)
        self.row[at] += np.mean(g * g, axis=1, keepdims=True)
        self.w[at] -= rate * g / (np.sqrt(self.row[at]) + self.o["epsilon"])


class AdamRow(Numpy):
    def step(self, at, g, rate):
        g = self.decayed(at, g)
        b = self.o["beta2"]
        mean = self.first_mean(at, g)
        self.row[at] = b * self.row[at] + (1 - b) * np.mean(g * g, axis=1, keepdims=True)
        self.w[at] -= rate * mean / (np.sqrt(self.row[at] / (1 - b ** self.t[at])) + self.o["epsilon"])


def factor(schedule, t):
    """Of the learning rate at step t (a number or an array)."""
    t = np.asarray(t, dtype=np.float64)
    warmup, decay = schedule.get("warmup_steps", 0), schedule.get("decay_steps", 1)
    s = np.maximum(t - warmup, 0)
    after = {
        "constant": lambda: np.ones_like(s),
        "step": lambda: f32(schedule.get("decay_rate", 0.1)) ** np.floor(s / decay),
        "cosine": lambda: f32(schedule.get("minimum", 0)) +
                          (1 - f32(schedule.get("minimum", 0))) * (1 + np.cos(np.pi * np.minimum(s, decay) / decay)) / 2,
        "inverse_sqrt": lambda: 1 / np.sqrt(1 + s / decay),
    }[schedule.get("kind", "constant")]()
    return np.where(t <= warmup, t / max(warmup, 1), after)


def clipped(options, g):
    limit, norm = f32(options.get("clip_value", 0)), f32(options.get("clip_norm", 0))
    if limit > 0:
        g = np.clip(g, -limit, limit)
    if norm > 0:
        g = g * np.minimum(1, norm / np.linalg.norm(g, axis=1, keepdims=True))
    return g


class Case:
    """`schedule` as of a table; its steps are carried by the pushes, or with own_count are each row's own count of pushes."""

    def __init__(self, reference, schedule=None, own_count=False, **options):
        self.reference, self.schedule, self.own_count, self.options = reference, schedule or {}, own_count, options

    def run(self, rows, dim, keys, grads):
        self.reference.begin(self.options, rows, dim)
        rate = f32(self.options.get("learning_rate", 0))
        count = np.zeros((rows, 1))
        for step in range(STEPS):
            at = keys[step]
            count[at] += 1
            t = count[at] if self.own_count else step + 1
            self.reference.step(at, clipped(self.options, grads[step].astype(np.float64)), rate * factor(self.schedule, t))
        return self.reference.weights()


ADAM = dict(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8)
OTHER_ADAM = dict(learning_rate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, l2=0.02)
optim = torch.optim
CASES = {
    "sgd": Case(Torch(lambda p: optim.SGD(p, lr=0.05)), kind="sgd", learning_rate=0.05),
    "sgd_l2": Case(Torch(lambda p: optim.SGD(p, lr=0.05, weight_decay=0.01)), kind="sgd", learning_rate=0.05, l2=0.01),
    "momentum": Case(Torch(lambda p: optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01)), kind="momentum",
                     learning_rate=0.02, momentum=0.9, l2=0.01),
    "nesterov": Case(Torch(lambda p: optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True)), kind="nesterov",
                     learning_rate=0.02, momentum=0.8),
    "adagrad": Case(Torch(lambda p: optim.Adagrad(p, lr=0.1, eps=1e-10)), kind="adagrad", learning_rate=0.1, epsilon=1e-10),
    "adagrad_acc": Case(Torch(lambda p: optim.Adagrad(p, lr=0.1, eps=1e-10, initial_accumulator_value=0.5, weight_decay=0.01)),
                        kind="adagrad", learning_rate=0.1, epsilon=1e-10, initial_accumulator=0.5, l2=0.01),
    "rmsprop": Case(Torch(lambda p: optim.RMSprop(p, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.01)), kind="rmsprop",
                    learning_rate=0.01, beta2=0.99, epsilon=1e-8, l2=0.01),
    "adam": Case(Torch(lambda p: optim.Adam(p, lr=0.01)), kind="adam", **ADAM),
    "adam_l2": Case(Torch(lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.02)), kind="adam",
                    **OTHER_ADAM),
    "adamw": Case(Torch(lambda p: optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.02)), kind="adamw",
                  **OTHER_ADAM),
    "lamb": Case(Lamb(), kind="lamb", **OTHER_ADAM),
    "adagrad_row": Case(AdagradRow(), kind="adagrad_row", learning_rate=0.1, epsilon=1e-10, initial_accumulator=0.5, l2=0.01),
    "adam_row": Case(AdamRow(), kind="adam_row", **OTHER_ADAM),
    "ftrl": Case(Ftrl(), kind="ftrl", learning_rate=0.1, beta=1.0, l1=0.5, l2=0.1),
    "add": Case(Add(), kind="add"),
    "assign": Case(Assign(), kind="assign"),
    # Clipping: gradients have a standard deviation of about 0.3 an element.
    "clip_value": Case(Torch(lambda p: optim.SGD(p, lr=0.05)), kind="sgd", learning_rate=0.05, clip_value=0.5),
    "clip_norm": Case(Torch(lambda p: optim.Adam(p, lr=0.01)), kind="adam", clip_norm=0.5, **ADAM),
    "clip_both": Case(Lamb(), kind="lamb", clip_value=0.4, clip_norm=0.8, **OTHER_ADAM),
    # Schedules.
    "warmup": Case(Torch(lambda p: optim.SGD(p, lr=0.02, momentum=0.9)), schedule=dict(warmup_steps=300), kind="momentum",
                   learning_rate=0.02, momentum=0.9),
    "step": Case(Torch(lambda p: optim.Adam(p, lr=0.01)), kind="adam", **ADAM,
                 schedule=dict(kind="step", warmup_steps=100, decay_steps=250, decay_rate=0.5)),
    "cosine": Case(Torch(lambda p: optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.02)), kind="adamw",
                   **OTHER_ADAM, schedule=dict(kind="cosine", warmup_steps=100, decay_steps=700, minimum=0.1)),
    "inverse_sqrt": Case(Lamb(), kind="lamb", **OTHER_ADAM,
                         schedule=dict(kind="inverse_sqrt", warmup_steps=50, decay_steps=100)),
    "own_count": Case(Sgd(), kind="sgd", learning_rate=0.1, l2=0.01, own_count=True,
                      schedule=dict(kind="inverse_sqrt", warmup_steps=20, decay_steps=30)),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for shape_name, shape in SHAPES.items():
        rows, dim, touched = shape["rows"], shape["dim"], shape["touched"]
        for number, (case_name, case) in enumerate(CASES.items()):
            name = f"{shape_name}_{case_name}"
            random = np.random.default_rng(number * 1000 + rows)
            keys = np.stack([random.permutation(rows)[:touched] for _ in range(STEPS)])
            target = random.normal(size=(rows, dim))
            grads = (random.normal(size=(STEPS, touched, dim)) * 0.3 + 0.1 * target[keys]).astype(np.float32)
            want = case.run(rows, dim, keys, grads)
            keys.astype(np.uint64).tofile(folder / f"{name}.keys")
            grads.tofile(folder / f"{name}.grads")
            want.astype(np.float64).tofile(folder / f"{name}.want")
            table = dict(shape, steps=STEPS, name=name, initial=getattr(case.reference, "initial", INITIAL),
                         optimizer=case.options, schedule=case.schedule, own_count=case.own_count)
            (folder / f"{name}.json").write_text(json.dumps(table))


main()
