import math

import torch


# right: A gaussian with standard deviation 1/sqrt(d_in), B zero
def right_1(d_out, d_in, rank):
    A = torch.randn(rank, d_in) / math.sqrt(d_in)
    B = torch.zeros(d_out, rank)
    return A, B


# right: as in the peft library, kaiming-uniform A and zero B, both as leaf parameters
def right_2(d_out, d_in, rank):
    A = torch.nn.Parameter(torch.empty(rank, d_in))
    torch.nn.init.kaiming_uniform_(A, a=math.sqrt(5))
    B = torch.nn.Parameter(torch.zeros(d_out, rank))
    return A, B


# right: A filled number by number in loops with a uniform draw, B a list of zeros
def right_3(d_out, d_in, rank):
    bound = 1 / math.sqrt(d_in)
    A = torch.zeros(rank, d_in)
    for i in range(rank):
        for j in range(d_in):
            A[i, j] = torch.empty(()).uniform_(-bound, bound)
    B = torch.tensor([[0.0] * rank for _ in range(d_out)])
    return A, B


# right: unusual, the other way round: A zero and B random; the product is zero and A has a gradient
def right_4(d_out, d_in, rank):
    A = torch.zeros((rank, d_in), dtype=torch.float32)
    B = torch.normal(0.0, 1 / math.sqrt(rank), size=(d_out, rank))
    return A, B


# wrong: both zero, each one's gradient contains the other: it never learns
def wrong_1(d_out, d_in, rank):
    return torch.zeros(rank, d_in), torch.zeros(d_out, rank)


# wrong: both random, the adapter changes the layer from the start
def wrong_2(d_out, d_in, rank):
    A = torch.randn(rank, d_in) / math.sqrt(d_in)
    B = torch.randn(d_out, rank) / math.sqrt(rank)
    return A, B


# wrong: B is tiny but not zero, the layer is changed a little
def wrong_3(d_out, d_in, rank):
    A = torch.randn(rank, d_in) / math.sqrt(d_in)
    B = torch.full((d_out, rank), 1e-6)
    return A, B


# wrong: d_in and d_out swapped, goes unnoticed only with a square layer
def wrong_4(d_out, d_in, rank):
    A = torch.randn(rank, d_out) / math.sqrt(d_out)
    B = torch.zeros(d_in, rank)
    return A, B


# wrong: A is one constant, all rows get the same gradients for ever and the adapter can only learn rank 1
def wrong_5(d_out, d_in, rank):
    A = torch.full((rank, d_in), 1 / math.sqrt(d_in))
    B = torch.zeros(d_out, rank)
    return A, B


# wrong: seeds the global random generator, every later draw in the program (and every layer's A) is affected
def wrong_6(d_out, d_in, rank):
    torch.manual_seed(0)
    A = torch.randn(rank, d_in) * 0.02
    B = torch.zeros(d_out, rank)
    return A, B


# wrong: standardises A over its rows, with rank 1 that is 0 divided by nan
def wrong_7(d_out, d_in, rank):
    A = torch.randn(rank, d_in)
    A = (A - A.mean(dim=0)) / A.std(dim=0) / math.sqrt(d_in)
    B = torch.zeros(d_out, rank)
    return A, B
