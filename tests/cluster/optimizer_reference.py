"""Makes gradients and the weights that reference optimizers reach with them, in float64, for optimizer_reference_test.cc.

Usage: optimizer_reference.py FOLDER. For each case NAME it writes FOLDER/NAME.json (the table) and three raw arrays:
NAME.keys (uint64 [steps, touched]), NAME.grads (float32 [steps, touched, dim]) and NAME.want (float64 [rows, dim]).
References are torch.optim's, one parameter a row, so that a row that a step does not touch is not stepped; FTRL is Algorithm 1
of McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013.
"""
import json
import pathlib
import sys

import numpy as np
import torch

STEPS = 1000
SHAPES = {"dense": dict(rows=4, dim=256, touched=4), "sparse": dict(rows=200, dim=8, touched=20)}
INITIAL = 0.25

CASES = {
    "sgd": (dict(kind="sgd", learning_rate=0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "sgd_l2": (dict(kind="sgd", learning_rate=0.05, l2=0.01), lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01)),
    "adagrad": (dict(kind="adagrad", learning_rate=0.1, epsilon=1e-10), lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-10)),
    "adagrad_acc": (dict(kind="adagrad", learning_rate=0.1, epsilon=1e-10, initial_accumulator=0.5, l2=0.01),
                    lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-10, initial_accumulator_value=0.5, weight_decay=0.01)),
    "adam": (dict(kind="adam", learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam_l2": (dict(kind="adam", learning_rate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, l2=0.02),
                lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.02)),
    "ftrl": (dict(kind="ftrl", learning_rate=0.1, beta=1.0, l1=0.5, l2=0.1), None),
    "add": (dict(kind="add"), "add"),
    "assign": (dict(kind="assign"), "assign"),
}


def f32(value):
    """The float64 of the float32 that the server is given, so that both sides step by the same number."""
    return float(np.float32(value))


def ftrl(options, rows, dim, keys, grads):
    alpha, beta, l1, l2 = (f32(options[k]) for k in ("learning_rate", "beta", "l1", "l2"))
    z, n, w = (np.zeros((rows, dim)) for _ in range(3))
    for step in range(STEPS):
        at, g = keys[step], grads[step].astype(np.float64)
        sigma = (np.sqrt(n[at] + g * g) - np.sqrt(n[at])) / alpha
        z[at] += g - sigma * w[at]
        n[at] += g * g
        w[at] = np.where(np.abs(z[at]) <= l1, 0, -(z[at] - np.sign(z[at]) * l1) / ((beta + np.sqrt(n[at])) / alpha + l2))
    return w


def by_torch(make, rows, dim, keys, grads):
    parameters = [torch.full((dim,), INITIAL, dtype=torch.float64, requires_grad=True) for _ in range(rows)]
    optimizer = make(parameters)
    for group in optimizer.param_groups:
        for name in ("lr", "eps", "weight_decay"):
            if name in group:
                group[name] = f32(group[name])
        if "betas" in group:
            group["betas"] = tuple(f32(b) for b in group["betas"])
    for step in range(STEPS):
        for parameter in parameters:
            parameter.grad = None
        for i, key in enumerate(keys[step]):
            parameters[key].grad = torch.from_numpy(grads[step, i].astype(np.float64))
        optimizer.step()
    return np.stack([p.detach().numpy() for p in parameters])


def plain(kind, rows, dim, keys, grads):
    w = np.full((rows, dim), INITIAL)
    for step in range(STEPS):
        if kind == "add":
            w[keys[step]] += grads[step]
        else:
            w[keys[step]] = grads[step]
    return w


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for shape_name, shape in SHAPES.items():
        rows, dim, touched = shape["rows"], shape["dim"], shape["touched"]
        for case_name, (options, reference) in CASES.items():
            name = f"{shape_name}_{case_name}"
            random = np.random.default_rng(len(name) * 1000 + rows)
            keys = np.stack([random.permutation(rows)[:touched] for _ in range(STEPS)]).astype(np.uint64)
            target = random.normal(size=(rows, dim))
            grads = (random.normal(size=(STEPS, touched, dim)) * 0.3 + 0.1 * target[keys.astype(np.int64)]).astype(np.float32)
            at = keys.astype(np.int64)
            if reference is None:
                want = ftrl(options, rows, dim, at, grads)
            elif isinstance(reference, str):
                want = plain(reference, rows, dim, at, grads)
            else:
                want = by_torch(reference, rows, dim, at, grads)
            keys.tofile(folder / f"{name}.keys")
            grads.tofile(folder / f"{name}.grads")
            want.astype(np.float64).tofile(folder / f"{name}.want")
            table = dict(shape, steps=STEPS, name=name, initial=0.0 if reference is None else INITIAL, optimizer=options)
            (folder / f"{name}.json").write_text(json.dumps(table))


main()
