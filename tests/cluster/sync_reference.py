"""Trains on the batches that a test has written, in one process by PyTorch in float64, and writes the weights.

usage: sync_reference.py FOLDER    reads job.json, batches.bin and weights-<table>.bin there, writes want-<table>.bin

batches.bin: for each step uint32 n, then float32 features [n, dim], then float32 labels [n].
"""
import json
import math
import sys

import numpy
import torch


def batches(path, dim):
    data = numpy.fromfile(path, dtype=numpy.float32)
    counts = data.view(numpy.uint32)
    at = 0
    while at < len(data):
        n = int(counts[at])
        x = data[at + 1:at + 1 + n * dim].reshape(n, dim)
        y = data[at + 1 + n * dim:at + 1 + n * dim + n]
        at += 1 + n * dim + n
        yield torch.from_numpy(x.astype(numpy.float64)), torch.from_numpy(y.astype(numpy.float64))


def parameters(folder, tables):
    for table in tables:
        values = numpy.fromfile(f"{folder}/weights-{table}.bin", dtype=numpy.float32).astype(numpy.float64)
        yield torch.from_numpy(values).requires_grad_()


def mlp_loss(weights, widths, x, y):
    for layer, flat in enumerate(weights):
        inputs, outputs = widths[layer], widths[layer + 1]
        matrix = flat[:inputs * outputs].reshape(inputs, outputs)
        x = x @ matrix + flat[inputs * outputs:]
        if layer + 1 < len(weights):
            x = torch.relu(x)
    return torch.nn.functional.cross_entropy(x, y.long())


def logistic_loss(weights, l2, x, y):
    w = weights[0]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y)
    return loss + l2 / 2 * (w * w).sum()


def main(folder):
    job = json.load(open(f"{folder}/job.json"))
    weights = list(parameters(folder, job["tables"]))
    if job["optimizer"] == "sgd":
        rates = job["learning_rates"]  # by table
        groups = [{"params": [w], "lr": rates[table]} for table, w in zip(job["tables"], weights)]
        optimizer = torch.optim.SGD(groups, lr=0)
        # Cosine after a warm-up, as common/cluster/table_spec.h says; the first step is 1.
        warmup, decay = job["warmup_steps"], job["decay_steps"]
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: (
            (done + 1) / warmup if done < warmup else (1 + math.cos(math.pi * min(done + 1 - warmup, decay) / decay)) / 2))
    else:
        factor = None
        optimizer = torch.optim.Adagrad(weights, lr=job["learning_rate"], eps=job["epsilon"],
                                        initial_accumulator_value=job["initial_accumulator"])
    steps = 0
    for x, y in batches(f"{folder}/batches.bin", job["dim"]):
        optimizer.zero_grad()
        loss = mlp_loss(weights, job["widths"], x, y) if "widths" in job else logistic_loss(weights, job["l2"], x, y)
        loss.backward()
        optimizer.step()
        if factor is not None:
            factor.step()
        steps += 1
    assert steps == job["steps"], f"{steps} steps of {job['steps']}"
    for table, flat in zip(job["tables"], weights):
        flat.detach().numpy().tofile(f"{folder}/want-{table}.bin")


if __name__ == "__main__":
    main(sys.argv[1])
