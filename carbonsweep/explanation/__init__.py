"""Why an answer is what it is: sensitivities, what binds, the cheapest relaxation, what it rests on."""
